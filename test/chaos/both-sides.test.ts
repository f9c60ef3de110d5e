import { expect, test } from "vitest";
import { SeededRandom } from "../../src/policy/model/random.ts";
import { KINDS, type RequestKind } from "../support/chaos-requests.ts";
import { READ_MODES } from "../support/scene.ts";
import {
  BACKEND_ROWS,
  type BackendRow,
  backendRowApplies,
  CLIENT_ROWS,
  type ClientRow,
  clientRowApplies,
} from "./cells.ts";
import type { Outcome } from "./rules.ts";
import { runBothSides } from "./run.ts";
import { together } from "./together.ts";

const SEED = Number(process.env.SPILLWAY_CHAOS_SEED ?? 20_261_124);
const CELLS = Number(process.env.SPILLWAY_CHAOS_CELLS ?? 240);

interface Draw {
  readonly backend: BackendRow;
  readonly client: ClientRow;
  readonly kind: RequestKind;
  readonly backends: number;
}

function draws(seed: number, count: number): Draw[] {
  const random = new SeededRandom(seed);
  const one = <T>(list: readonly T[]): T => list[Math.floor(random.next() * list.length)]!;
  // Its port belongs to the matrix, and megabytes take their time.
  const backendRows = BACKEND_ROWS.filter(({ fault, large }) => fault !== "deaf" && !large);
  return Array.from({ length: count }, () => {
    const kind = one(KINDS);
    return {
      kind,
      backend: one(backendRows.filter((row) => backendRowApplies(row, kind))),
      client: one(CLIENT_ROWS.filter((row) => clientRowApplies(row, kind))),
      backends: random.next() < 0.5 ? 1 : 2,
    };
  });
}

/** What must not be, whatever both sides do; empty when all is well. A wrong thing is named in capitals. */
function wrongs({ client, read, left }: Outcome): string[] {
  const wrong = client.filter((seen) => /[A-Z]{2}/.test(seen) || seen.startsWith("after"));
  if (left !== "") wrong.push(left);
  if (read.some((times) => times > 2)) wrong.push(`read ${read.join(" + ")} times`);
  return wrong;
}

test.each(READ_MODES)(
  "whatever both sides do at once, no answer is another's, no POST is sent twice and nothing is left over (%s)",
  async (mode) => {
    const failed: string[] = [];
    let good = 0;
    await together(32, draws(SEED, CELLS / READ_MODES.length), async (draw, at) => {
      const { backend, client, kind, backends } = draw;
      const result = await runBothSides(backend, client, kind, backends, `${mode}${at}`, mode);
      if (result.client.some((seen) => seen.startsWith("200 from"))) good++;
      const wrong = wrongs(result);
      if (wrong.length > 0)
        failed.push(`${JSON.stringify(draw)}: ${wrong.join("; ")}, saw ${result.client.join(", ")}`);
    });
    expect(failed, `SPILLWAY_CHAOS_SEED=${SEED} does it again`).toEqual([]);
    // It is chaos, and not one great failure.
    expect(good).toBeGreaterThan(CELLS / 24);
  },
);
