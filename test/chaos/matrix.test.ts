import { isDeepStrictEqual } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type DeafPort, deafPort } from "../support/chaos-deaf.ts";
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
import { PAGE, pageWith, report } from "./report.ts";
import { expectedOfBackend, expectedOfClient, type Outcome, type Retrying } from "./rules.ts";
import { isLarge, isSlow, runBackendCell, runClientCell } from "./run.ts";
import { together } from "./together.ts";

/** One cell: what came of it is known when all have run. */
interface Cell {
  readonly name: string;
  readonly row: BackendRow | ClientRow;
  readonly kind: RequestKind;
  readonly second: boolean;
  readonly retrying: Retrying;
  readonly expected: readonly Outcome[];
  run(id: string): Promise<Outcome>;
  outcome: Outcome | Error | undefined;
}

/** What came of a cell: one of what may come of it, or what it was instead. Where it did not run, the rules speak. */
function cameOf(row: BackendRow | ClientRow, kind: RequestKind, second = false): readonly Outcome[] {
  const cell = cells.find(
    (one) => one.row === row && one.kind === kind && one.second === second && one.retrying === "default",
  );
  if (cell === undefined) return expectedOfBackend(row as BackendRow, kind, second);
  const { outcome, expected } = cell;
  if (outcome instanceof Error) throw outcome;
  return outcome === undefined || expected.some((one) => isDeepStrictEqual(one, outcome)) ? expected : [outcome];
}

let deaf: DeafPort;
const thrown: unknown[] = [];
process.on("uncaughtException", (error) => thrown.push(error));
process.on("unhandledRejection", (error) => thrown.push(error));

// Only Linux leaves a connect unanswered when nobody accepts.
const backendRows = BACKEND_ROWS.filter(({ fault }) => fault !== "deaf" || process.platform === "linux");

const RETRYING_WORDS: Readonly<Record<Retrying, string>> = {
  default: "",
  off: "without retries: ",
  unsafe: "with unsafe retries: ",
};

function backendCell(row: BackendRow, kind: RequestKind, second: boolean, retrying: Retrying = "default"): Cell {
  return {
    row,
    kind,
    second,
    retrying,
    name: `${RETRYING_WORDS[retrying]}${kind}, ${second ? "the first of two backends" : "the only backend"}, ${backendWords(row).join(", ")}`,
    expected: expectedOfBackend(row, kind, second, retrying),
    run: (id) => runBackendCell(row, kind, second, id, deaf.port, retrying),
    outcome: undefined,
  };
}

function clientCell(row: ClientRow, kind: RequestKind): Cell {
  return {
    row,
    kind,
    second: false,
    retrying: "default",
    name: `${kind}, the client, ${clientWords(row).join(", ")}`,
    expected: expectedOfClient(row),
    run: (id) => runClientCell(row, kind, id),
    outcome: undefined,
  };
}

const cells: readonly Cell[] = KINDS.flatMap((kind) => [
  ...[false, true].flatMap((second) =>
    backendRows.filter((row) => backendRowApplies(row, kind)).map((row) => backendCell(row, kind, second)),
  ),
  // Without retries nothing that was sent is sent again; where users say that they may be, POSTs are, too.
  ...(["off", "unsafe"] as const).flatMap((retrying) =>
    backendRows
      .filter((row) => backendRowApplies(row, kind) && !isSlow(row) && !isLarge(row))
      .filter(() => retrying === "off" || kind === "POST")
      .map((row) => backendCell(row, kind, true, retrying)),
  ),
  ...CLIENT_ROWS.filter((row) => clientRowApplies(row, kind)).map((row) => clientCell(row, kind)),
]);

beforeAll(async () => {
  deaf = await deafPort();
  const run = async (cell: Cell) => {
    cell.outcome = await cell.run(`m${cells.indexOf(cell)}`).catch((error: Error) => error);
  };
  // What waits for a deadline has the thread to itself: it must not come late because others are busy.
  const large = cells.filter(({ row }) => isLarge(row));
  const slow = cells.filter((cell) => isSlow(cell.row) && !large.includes(cell));
  const rest = cells.filter((cell) => !large.includes(cell) && !slow.includes(cell));
  await together(32, rest, run);
  await together(48, slow, run);
  await together(3, large, run);
}, 120_000);

afterAll(() => deaf?.close());

describe("whatever one side does, the other side sees what the rules say, and nothing is left over", () => {
  test.each(cells.map((cell) => [cell.name, cell] as const))("%s", (_, { outcome, expected }) => {
    if (outcome instanceof Error) throw outcome;
    if (expected.length === 1) expect(outcome).toEqual(expected[0]);
    else expect(expected).toContainEqual(outcome);
  });

  test("docs/reliability.md says so; npx vitest run test/chaos -u writes it anew", async () => {
    await expect(pageWith(report({ backend: cameOf, client: cameOf }))).toMatchFileSnapshot(PAGE);
  });

  test("nothing was thrown anywhere", () => {
    expect(thrown).toEqual([]);
  });
});
