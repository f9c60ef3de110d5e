import type { BackendState, BackendView } from "../metrics/snapshot.ts";
import type { BackendSlot } from "../proxy/slots.ts";

interface Row {
  readonly backend: BackendSlot;
  healthy: boolean;
  healthReason: string;
  view: BackendView;
}

/** The state of every backend as the control plane sees it: what is configured and what checks say, since when. */
export class BackendBoard {
  readonly #rows: readonly Row[];

  /** @param wallMs milliseconds since the Unix epoch, as everywhere here. */
  constructor(backends: readonly BackendSlot[], wallMs: number) {
    this.#rows = backends.map((backend) => {
      const view = {
        slot: backend.slot,
        address: backend.settings.address,
        state: "up" as const,
        reason: "",
        since: wallMs,
        weight: backend.settings.weight,
      };
      const row: Row = { backend, healthy: true, healthReason: "", view };
      review(row, wallMs);
      return row;
    });
  }

  setHealth(slot: number, up: boolean, reason: string, wallMs: number): void {
    const row = this.#rows[slot];
    if (row === undefined) return;
    row.healthy = up;
    row.healthReason = reason;
    review(row, wallMs);
  }

  views(): readonly BackendView[] {
    return this.#rows.map((row) => row.view);
  }
}

/** The order of `Upstream`: an operator's `down` outranks the checks, and they outrank `drain`. */
function review(row: Row, wallMs: number): void {
  const configured = row.backend.settings.state;
  const byChecks = configured !== "down" && (!row.healthy || configured === "up");
  const state: BackendState =
    configured === "down" || !row.healthy ? "down" : configured === "drain" ? "draining" : "up";
  const reason = byChecks ? row.healthReason : "set in the configuration";
  if (state === row.view.state && reason === row.view.reason) return;
  row.view = { ...row.view, state, reason, since: state === row.view.state ? row.view.since : wallMs };
}
