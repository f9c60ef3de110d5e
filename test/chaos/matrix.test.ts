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
import { expectedOfBackend, expectedOfClient, type Outcome } from "./rules.ts";
import { runBackendCell, runClientCell } from "./run.ts";
import { together } from "./together.ts";

/** One cell: what came of it is known when all have run. */
interface Cell {
  readonly name: string;
  readonly expected: readonly Outcome[];
  run(id: string): Promise<Outcome>;
  outcome: Outcome | Error | undefined;
}

let deaf: DeafPort;
const thrown: unknown[] = [];
process.on("uncaughtException", (error) => thrown.push(error));
process.on("unhandledRejection", (error) => thrown.push(error));

// Only Linux leaves a connect unanswered when nobody accepts.
const backendRows = BACKEND_ROWS.filter(({ fault }) => fault !== "deaf" || process.platform === "linux");

function backendCell(row: BackendRow, kind: RequestKind, second: boolean): Cell {
  return {
    name: `${kind}, ${second ? "the first of two backends" : "the only backend"}, ${backendWords(row).join(", ")}`,
    expected: expectedOfBackend(row, kind, second),
    run: (id) => runBackendCell(row, kind, second, id, deaf.port),
    outcome: undefined,
  };
}

function clientCell(row: ClientRow, kind: RequestKind): Cell {
  return {
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
  ...CLIENT_ROWS.filter((row) => clientRowApplies(row, kind)).map((row) => clientCell(row, kind)),
]);

beforeAll(async () => {
  deaf = await deafPort();
  await together(32, cells, async (cell, at) => {
    cell.outcome = await cell.run(`m${at}`).catch((error: Error) => error);
  });
}, 120_000);

afterAll(() => deaf?.close());

describe("whatever one side does, the other side sees what the rules say, and nothing is left over", () => {
  test.each(cells.map((cell) => [cell.name, cell] as const))("%s", (_, { outcome, expected }) => {
    if (outcome instanceof Error) throw outcome;
    if (expected.length === 1) expect(outcome).toEqual(expected[0]);
    else expect(expected).toContainEqual(outcome);
  });

  test("nothing was thrown anywhere", () => {
    expect(thrown).toEqual([]);
  });
});
