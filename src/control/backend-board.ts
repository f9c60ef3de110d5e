import type { BackendState, BackendView } from "../metrics/snapshot.ts";
import type { BackendCondition } from "../proxy/data-plane-api.ts";
import type { BackendSlot } from "../proxy/slots.ts";

/** The conditions that keep a backend from all or most of its traffic, the worst first. */
const TROUBLES = ["open", "ejected", "half-open"] as const;

type Trouble = (typeof TROUBLES)[number];

interface Row {
  readonly backend: BackendSlot;
  healthy: boolean;
  healthReason: string;
  /** By worker, those in trouble only; who has told last is last. */
  readonly conditions: Map<number, BackendCondition>;
  /** What was last heard in its favour. */
  goodReason: string;
  view: BackendView;
}

/**
 * The state of every backend as the control plane sees it, since when and why: what is configured, what checks say, and
 * what the policies of each worker think of it.
 */
export class BackendBoard {
  readonly #rows: readonly Row[];
  readonly #workers: number;

  /**
   * @param workers how many data planes there are.
   * @param wallMs milliseconds since the Unix epoch, as everywhere here.
   */
  constructor(backends: readonly BackendSlot[], workers: number, wallMs: number) {
    this.#workers = workers;
    this.#rows = backends.map((backend) => {
      const view: BackendView = {
        slot: backend.slot,
        address: backend.settings.address,
        state: "up",
        reason: "",
        since: wallMs,
        circuit: "closed",
        ejected: false,
        weight: backend.settings.weight,
      };
      const row: Row = { backend, healthy: true, healthReason: "", conditions: new Map(), goodReason: "", view };
      this.#review(row, wallMs);
      return row;
    });
  }

  setHealth(slot: number, up: boolean, reason: string, wallMs: number): void {
    const row = this.#rows[slot];
    if (row === undefined) return;
    row.healthy = up;
    row.healthReason = reason;
    if (up) row.goodReason = reason;
    this.#review(row, wallMs);
  }

  /** What `worker` thinks of a backend from now on. */
  setCondition(worker: number, slot: number, condition: BackendCondition, wallMs: number): void {
    const row = this.#rows[slot];
    if (row === undefined) return;
    row.conditions.delete(worker);
    if (condition.ejected || condition.circuit !== "closed") row.conditions.set(worker, condition);
    else if (condition.reason !== "") row.goodReason = condition.reason;
    this.#review(row, wallMs);
  }

  /** A worker is gone: another in its place begins without an opinion. */
  forgetWorker(worker: number, wallMs: number): void {
    for (const row of this.#rows) {
      if (!row.conditions.delete(worker)) continue;
      row.goodReason = `worker ${worker}, which kept it out, died`;
      this.#review(row, wallMs);
    }
  }

  /** Whether some worker keeps a backend out because of what came of its attempts. */
  ejected(slot: number): boolean {
    return this.#rows[slot]?.view.ejected === true;
  }

  views(): readonly BackendView[] {
    return this.#rows.map((row) => row.view);
  }

  #review(row: Row, wallMs: number): void {
    const [state, reason] = this.#judge(row);
    const since = state === row.view.state ? row.view.since : wallMs;
    const conditions = [...row.conditions.values()];
    const ejected = conditions.some((condition) => condition.ejected);
    const circuit =
      (["open", "half-open"] as const).find((word) => conditions.some((condition) => condition.circuit === word)) ??
      "closed";
    row.view = { ...row.view, state, reason, since, circuit, ejected };
  }

  /** The order of `Upstream`: an operator's `down` outranks the checks, they outrank `drain`, and that the policies. */
  #judge(row: Row): readonly [BackendState, string] {
    const configured = row.backend.settings.state;
    if (configured === "down") return ["down", "set in the configuration"];
    if (!row.healthy) return ["down", row.healthReason];
    if (configured === "drain") return ["draining", "set in the configuration"];
    for (const trouble of TROUBLES) {
      const reasons = [...row.conditions.values()].filter((condition) => isIn(condition, trouble));
      const last = reasons.at(-1);
      if (last !== undefined) return [trouble, this.#told(trouble, reasons.length, last.reason)];
    }
    return ["up", row.goodReason];
  }

  #told(trouble: Trouble, workers: number, reason: string): string {
    return this.#workers === 1 ? reason : `${trouble} in ${workers} of ${this.#workers} workers: ${reason}`;
  }
}

function isIn(condition: BackendCondition, trouble: Trouble): boolean {
  return trouble === "ejected" ? condition.ejected : condition.circuit === trouble;
}
