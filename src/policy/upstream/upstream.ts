import type { Balancer } from "../balance/balancer.ts";
import type { Backend } from "../model/backend.ts";
import type { Outcome } from "../model/outcome.ts";
import type { PickRequest } from "../model/request.ts";

/** What an operator says of a backend. `drain`: no new exchanges; `down`: the same, and whatever the checks say. */
export type AdminState = "up" | "drain" | "down";

/** What a backend is in, all things considered. */
export type BackendState = "up" | "down" | "draining";

/** State of a backend, why, and since when (milliseconds of the injected clock). */
export interface BackendStatus {
  readonly state: BackendState;
  readonly reason: string;
  readonly since: number;
}

/** What happened to a member of an upstream. It has already taken effect when a listener hears of it. */
export type UpstreamChange =
  | { readonly kind: "added"; readonly backend: Backend }
  | { readonly kind: "removed"; readonly backend: Backend }
  | { readonly kind: "weight"; readonly backend: Backend; readonly from: number; readonly to: number }
  | {
      readonly kind: "state";
      readonly backend: Backend;
      readonly from: BackendState;
      readonly to: BackendState;
      readonly reason: string;
    };

/** What an upstream is made of. */
export interface UpstreamInit {
  /** Name in configuration, logs and metrics. */
  readonly name: string;
  /** Its own, without backends yet; nobody else may update it. */
  readonly balancer: Balancer;
}

/** The facts about one member; its status follows from them. */
interface Member {
  readonly backend: Backend;
  healthy: boolean;
  healthReason: string;
  admin: AdminState;
  adminReason: string;
  status: BackendStatus;
}

/**
 * A named set of interchangeable backends: who belongs to it, who may be picked, and how many exchanges run on each.
 *
 * May be picked: up, not draining, weight above 0. The balancer hears of it only when that changes, so a pick filters
 * nothing. Backends start up: they serve before the first check has ended, and one that does not answer costs an
 * exchange one failed connect, not an outage of the whole upstream at every start.
 *
 * An operator's `down` outranks the checks, and the checks outrank `drain`: a draining backend that fails its checks
 * is down, and is draining again when they pass.
 */
export class Upstream {
  readonly name: string;
  readonly #balancer: Balancer;
  readonly #listeners = new Set<(change: UpstreamChange) => void>();
  #members = new Map<Backend, Member>();
  #backends: readonly Backend[] = [];
  #available: readonly Backend[] = [];

  constructor({ name, balancer }: UpstreamInit) {
    this.name = name;
    this.#balancer = balancer;
  }

  /** All members, in the order of the configuration. */
  get backends(): readonly Backend[] {
    return this.#backends;
  }

  /** The members that may be picked, in the same order. */
  get available(): readonly Backend[] {
    return this.#available;
  }

  /** Sets the members. Those that stay (the same objects) keep their state; exchanges on those that go run on. */
  update(backends: readonly Backend[], now: number): void {
    const before = this.#members;
    const members = new Map(backends.map((backend) => [backend, before.get(backend) ?? newMember(backend, now)]));
    this.#members = members;
    this.#backends = [...members.keys()];
    this.#tellBalancer();
    for (const backend of before.keys()) if (!members.has(backend)) this.#tell({ kind: "removed", backend });
    for (const backend of members.keys()) if (!before.has(backend)) this.#tell({ kind: "added", backend });
  }

  /** Changes a member's share of new exchanges; 0 gives it none. A RangeError when it is no number from 0 on. */
  setWeight(backend: Backend, weight: number): void {
    if (!(weight >= 0 && weight < Infinity)) throw new RangeError(`a weight is a number from 0 on, not ${weight}`);
    const from = backend.weight;
    if (!this.#members.has(backend) || from === weight) return;
    backend.weight = weight;
    this.#tellBalancer();
    this.#tell({ kind: "weight", backend, from, to: weight });
  }

  /** What the checks say of a member. */
  setHealth(backend: Backend, up: boolean, reason: string, now: number): void {
    const member = this.#members.get(backend);
    if (member === undefined || member.healthy === up) return;
    member.healthy = up;
    member.healthReason = reason;
    this.#review(member, reason, now);
  }

  /** What an operator says of a member; `up` leaves it to the checks again. */
  setAdminState(backend: Backend, state: AdminState, reason: string, now: number): void {
    const member = this.#members.get(backend);
    if (member === undefined || member.admin === state) return;
    member.admin = state;
    member.adminReason = reason;
    this.#review(member, reason, now);
  }

  /** State of a member; undefined when it is none. */
  stateOf(backend: Backend): BackendStatus | undefined {
    return this.#members.get(backend)?.status;
  }

  /**
   * A backend for an attempt that begins now, counted as active until {@link settle}; undefined when none is left.
   * Throws what the balancer throws, with nothing counted.
   */
  pick(request: PickRequest, now: number, exclude?: ReadonlySet<Backend>): Backend | undefined {
    const backend = this.#balancer.pick(request, now, exclude);
    // A balancer of the user's that forgets `exclude` would have the exchange go round for ever.
    if (backend === undefined || exclude?.has(backend)) return undefined;
    backend.addActive(1);
    return backend;
  }

  /** An attempt ended: exactly once for each backend that {@link pick} gave, also when it is no member any more. */
  settle(backend: Backend, outcome: Outcome, now: number): void {
    backend.addActive(-1);
    this.#balancer.settled?.(backend, outcome, now);
  }

  /** Calls `listener` after every change, until the function it answers with is called. */
  onChange(listener: (change: UpstreamChange) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  #review(member: Member, cause: string, now: number): void {
    const { backend, status: before } = member;
    const state = judge(member);
    const reason = reasonOf(member, state, cause);
    if (state === before.state) {
      member.status = { state, reason, since: before.since };
      return;
    }
    member.status = { state, reason, since: now };
    if (before.state === "up" || state === "up") this.#tellBalancer();
    this.#tell({ kind: "state", backend, from: before.state, to: state, reason });
  }

  #tellBalancer(): void {
    this.#available = this.#backends.filter(
      (backend) => backend.weight > 0 && this.#members.get(backend)!.status.state === "up",
    );
    this.#balancer.update(this.#available, this.#backends);
  }

  #tell(change: UpstreamChange): void {
    for (const listener of this.#listeners) listener(change);
  }
}

function newMember(backend: Backend, now: number): Member {
  const status: BackendStatus = { state: "up", reason: "new", since: now };
  return { backend, healthy: true, healthReason: "", admin: "up", adminReason: "", status };
}

function judge({ admin, healthy }: Member): BackendState {
  if (admin === "down" || !healthy) return "down";
  return admin === "drain" ? "draining" : "up";
}

/** A backend is kept out by the one who says so, and up because of what changed last. */
function reasonOf(member: Member, state: BackendState, cause: string): string {
  if (state === "up") return cause;
  return state === "down" && member.admin !== "down" ? member.healthReason : member.adminReason;
}
