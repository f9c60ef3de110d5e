import type { BackendState } from "../../metrics/snapshot.ts";
import { CAPACITIES, POLICIES, type PolicyName, SPEED, TEXTBOOK } from "./chapter.ts";
import type { Tally } from "./tally.ts";
import { bold, clip, dim, type Paint, paint } from "./text.ts";

/** What a backend does, as seen from outside (`running`) and by the proxy (`state`). */
export interface BackendView {
  readonly running: boolean;
  readonly state: BackendState;
  /** Percent of the requests of the last seconds. */
  readonly share: number;
}

/** One column of the chart: mean response time of a stretch of time in milliseconds; 0 when nothing was answered. */
export interface Column {
  readonly policy: PolicyName;
  readonly meanMs: number;
  readonly troubled: boolean;
}

export interface EventLine {
  readonly atMs: number;
  readonly text: string;
}

/** Everything that is shown, at one moment. */
export interface View {
  readonly proxy: string;
  readonly admin: string;
  readonly policy: PolicyName;
  /** What comes next and when, such as `weighted round robin in 7 s`. */
  readonly next: string;
  readonly perSecond: number;
  readonly backends: readonly BackendView[];
  readonly tallies: Readonly<Record<PolicyName, Tally>>;
  /** Requests that ran while a backend was lost. */
  readonly lost: Tally;
  readonly columns: readonly Column[];
  readonly events: readonly EventLine[];
}

export interface Size {
  readonly width: number;
  readonly height: number;
}

const COLORS: Readonly<Record<PolicyName, Paint>> = {
  "round-robin": "yellow",
  "weighted-round-robin": "cyan",
  "least-connections": "green",
};

const SHADES: Readonly<Record<BackendState, Paint>> = {
  up: "green",
  "half-open": "yellow",
  draining: "yellow",
  open: "red",
  ejected: "red",
  down: "red",
};

const EIGHTHS = " ▁▂▃▄▅▆▇█";
const BAR_EIGHTHS = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
const CHART_ROWS = 4;
const CHART_LABEL = 8;
/** Top of the chart, in the textbook's seconds. */
const CHART_TOP = 4;

/** The live view as lines that fit into `size`. What does not fit goes, the least important first. */
export function frame(view: View, size: Size, color: boolean): string[] {
  const head = [
    `${bold("Spillway demo", color)}   ${CAPACITIES.length} unequal servers, one policy after the other`,
    dim(`proxy ${view.proxy}   admin ${view.admin}`, color),
    "",
    `${paint(` ${spoken(view.policy)} `, COLORS[view.policy], color, true)}  ${Math.round(view.perSecond)} requests/s   ${dim(view.next, color)}`,
    "",
    ...view.backends.map((backend, index) => backendLine(backend, index, view.policy, size.width, color)),
    "",
  ];
  const chart = [...chartLines(view.columns, size.width, color), ""];
  const table = tableLines(view, size.width, color);
  const foot = dim("1 2 3 stop or start a server   n next   q quit", color);

  const room = size.height - head.length - table.length - 2;
  const showChart = room >= chart.length;
  const eventRoom = Math.max(0, Math.min(5, room - (showChart ? chart.length : 0) - 1));
  const events = view.events.slice(Math.max(0, view.events.length - eventRoom));
  return [
    ...head,
    ...(showChart ? chart : []),
    ...table,
    "",
    ...events.map((event) => `${dim(clock(event.atMs), color)}  ${event.text}`),
    foot,
  ]
    .slice(0, size.height)
    .map((line) => clip(` ${line}`, size.width));
}

/** What is printed at the end. */
export function summary(view: Pick<View, "tallies" | "lost" | "policy">, width: number, color: boolean): string[] {
  return tableLines(view, width - 1, color).map((line) => clip(` ${line}`.trimEnd(), width));
}

/** One line a second, where there is no terminal to draw on. */
export function plainLine(view: View, elapsedMs: number): string {
  const tally = view.tallies[view.policy];
  const shares = view.backends.map((backend, index) => `${CAPACITIES[index]!.id} ${backend.share.toFixed(1)} %`);
  const figures =
    tally.requests === 0 ? "" : `  mean ${seconds(tally.meanMs())}  p99 ${seconds(tally.quantileMs(0.99))}`;
  return `${clock(elapsedMs)}  ${view.policy.padEnd(20)} ${String(Math.round(view.perSecond)).padStart(4)}/s  ${shares.join("  ")}${figures}`;
}

export function plainEvent(event: EventLine): string {
  return `${clock(event.atMs)}  * ${event.text}`;
}

/** `round-robin` as people say it. */
export function spoken(policy: PolicyName): string {
  return policy.replaceAll("-", " ");
}

function backendLine(backend: BackendView, index: number, policy: PolicyName, width: number, color: boolean): string {
  const { id, percent } = CAPACITIES[index]!;
  const name = `${bold(id, color)} ${`${percent} %`.padStart(5)}`;
  const [word, shade] = stateOf(backend);
  const room = Math.max(4, Math.min(60, width - 31));
  return `${name}  ${paint(word.padEnd(9), shade, color)} ${paint(bar(backend.share / 100, room), COLORS[policy], color)} ${backend.share.toFixed(1).padStart(5)} %`;
}

/** What the proxy thinks, once it has noticed. */
function stateOf({ running, state }: BackendView): [string, Paint] {
  if (state === "up" && !running) return ["stopped", "red"];
  return [state, SHADES[state]];
}

/** Response times over time, one column for each stretch, newest on the right. */
function chartLines(columns: readonly Column[], width: number, color: boolean): string[] {
  const shown = columns.slice(-Math.max(1, width - CHART_LABEL - 3));
  const lines: string[] = [dim("mean response time, at the textbook's speed", color)];
  for (let row = CHART_ROWS - 1; row >= 0; row--) {
    const label = `${((CHART_TOP * (row + 1)) / CHART_ROWS).toFixed(0)} s`.padStart(CHART_LABEL - 3);
    let line = `${dim(`${label} ┤`, color)}`;
    for (const { policy, meanMs, troubled } of shown) {
      const height = Math.round(((meanMs * SPEED) / 1000 / CHART_TOP) * CHART_ROWS * 8);
      const eighths = Math.min(8, Math.max(row === 0 && meanMs > 0 ? 1 : 0, height - row * 8));
      line += eighths <= 0 ? " " : paint(EIGHTHS[eighths]!, troubled ? "red" : COLORS[policy], color);
    }
    lines.push(line);
  }
  return lines;
}

interface TableColumn {
  readonly head: string;
  readonly width: number;
  /** Narrowest terminal that shows it. */
  readonly from: number;
  cell(tally: Tally, policy?: PolicyName): string;
}

const TABLE: readonly TableColumn[] = [
  ...CAPACITIES.map(
    ({ id }, index): TableColumn => ({
      head: `${id} %`,
      width: 6,
      from: 50,
      cell: (tally) => (tally.requests === 0 ? "" : tally.shares()[index]!.toFixed(1)),
    }),
  ),
  { head: "mean", width: 8, from: 0, cell: (tally) => (tally.requests === 0 ? "" : seconds(tally.meanMs())) },
  { head: "p50", width: 8, from: 66, cell: (tally) => (tally.requests === 0 ? "" : seconds(tally.quantileMs(0.5))) },
  { head: "p99", width: 8, from: 58, cell: (tally) => (tally.requests === 0 ? "" : seconds(tally.quantileMs(0.99))) },
  { head: "failed", width: 8, from: 86, cell: (tally) => (tally.requests === 0 ? "" : String(tally.failed)) },
  { head: "textbook", width: 16, from: 40, cell: (_tally, policy) => (policy ? textbook(policy) : "") },
];

function tableLines(view: Pick<View, "tallies" | "lost" | "policy">, width: number, color: boolean): string[] {
  const columns = TABLE.filter((column) => column.from <= width);
  const name = Math.max(12, Math.min(22, width - 1 - columns.reduce((sum, column) => sum + column.width, 0)));
  const line = (title: string, cells: readonly string[]) =>
    clip(title, name).padEnd(name) + cells.map((cell, index) => cell.padStart(columns[index]!.width)).join("");
  return [
    dim(
      line(
        "policy",
        columns.map(({ head }) => head),
      ),
      color,
    ),
    ...POLICIES.map((policy) => {
      const text = line(
        spoken(policy),
        columns.map((column) => column.cell(view.tallies[policy], policy)),
      );
      return policy === view.policy ? paint(text, COLORS[policy], color) : text;
    }),
    line(
      "one server lost",
      columns.map((column) => column.cell(view.lost)),
    ),
  ];
}

function bar(share: number, room: number): string {
  const eighths = Math.round(Math.min(1, share) * room * 8);
  return ("█".repeat(eighths >> 3) + BAR_EIGHTHS[eighths & 7]!).padEnd(room);
}

function textbook(policy: PolicyName): string {
  const { shares, meanSeconds } = TEXTBOOK[policy];
  return `${shares.map((share) => share.toFixed(0)).join("/") || "adapts"}  ${meanSeconds} s`;
}

/** Milliseconds of the demo in the textbook's seconds. */
function seconds(ms: number): string {
  return `${((ms * SPEED) / 1000).toFixed(2)} s`;
}

function clock(ms: number): string {
  const whole = Math.floor(ms / 1000);
  return `${String(Math.floor(whole / 60)).padStart(2, "0")}:${String(whole % 60).padStart(2, "0")}`;
}
