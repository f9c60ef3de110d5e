import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { KINDS, type RequestKind } from "../support/chaos-requests.ts";
import {
  BACKEND_ROWS,
  type BackendRow,
  backendRowApplies,
  backendWords,
  CLIENT_ROWS,
  type ClientRow,
  clientRowApplies,
  clientWords,
} from "./cells.ts";
import type { Outcome } from "./rules.ts";

/** Where the tables stand. */
export const PAGE = fileURLToPath(new URL("../../docs/reliability.md", import.meta.url));
const BEGIN = "<!-- chaos:begin -->";
const END = "<!-- chaos:end -->";

/** What may come of the cells of the matrix. */
export interface Results {
  backend(row: BackendRow, kind: RequestKind, second: boolean): readonly Outcome[];
  client(row: ClientRow, kind: RequestKind): readonly Outcome[];
}

/** The tables of the page: a row for each fault, a column for each kind of request. */
export function report(results: Results): string {
  const backendRows = BACKEND_ROWS.map((row) => {
    const cells = KINDS.filter((kind) => backendRowApplies(row, kind)).map((kind) => ({
      kind,
      alone: results.backend(row, kind, false),
      first: results.backend(row, kind, true),
    }));
    const column = (kind: RequestKind, second: boolean) =>
      seen(cells.find((cell) => cell.kind === kind)?.[second ? "first" : "alone"]);
    const all = cells.flatMap(({ alone, first }) => [...alone, ...first]);
    return [
      ...backendWords(row),
      ...KINDS.map((kind) => column(kind, false)),
      ...KINDS.map((kind) => column(kind, true)),
      reads(cells.map(({ alone }) => alone)),
      reads(cells.map(({ first }) => first)),
      left(all),
    ];
  });
  const clientRows = CLIENT_ROWS.map((row) => {
    const cells = KINDS.map((kind) => (clientRowApplies(row, kind) ? results.client(row, kind) : undefined));
    const all = cells.filter((cell) => cell !== undefined);
    return [...clientWords(row), ...cells.map(seen), reads(all), left(all.flat())];
  });
  return [
    "### A backend does it, the client is well-behaved",
    "",
    table(
      [
        "when",
        "the backend",
        ...KINDS,
        ...KINDS.map((kind) => `${kind}, with a second`),
        "read",
        "read, with a second",
        "left over",
      ],
      backendRows,
    ),
    "",
    "### A client does it, the backend is healthy",
    "",
    table(["when", "the client", ...KINDS, "read", "left over"], clientRows),
  ].join("\n");
}

/** What the client saw. */
function seen(outcomes: readonly Outcome[] | undefined): string {
  if (outcomes === undefined) return "-";
  return outcomes.map(({ client }) => client.map(plain).join(", then ")).join(" or ");
}

function plain(word: string): string {
  return word.replace(" from a", "").replace(" from b", " from the second");
}

/** How often the request was read, by each backend; for each kind where they differ. */
function reads(kinds: readonly (readonly Outcome[])[]): string {
  const counts = kinds.map((outcomes) => outcomes.map(({ read }) => read.join(" + ")).join(" or "));
  return new Set(counts).size === 1 ? counts[0]! : counts.join(", ");
}

function left(outcomes: readonly Outcome[]): string {
  const what = new Set(outcomes.map((outcome) => outcome.left));
  return [...what].map((words) => (words === "" ? "nothing" : words)).join("; ");
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

/** The page with this text in its place; the rest of it as it stands. */
export function pageWith(text: string): string {
  const page = readFileSync(PAGE, "utf8");
  const from = page.indexOf(BEGIN);
  const to = page.indexOf(END);
  if (from < 0 || to < from) throw new Error(`docs/reliability.md has no place between ${BEGIN} and ${END}`);
  return `${page.slice(0, from + BEGIN.length)}\n\n${text}\n\n${page.slice(to)}`;
}
