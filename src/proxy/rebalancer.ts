import type { RebalanceOptions } from "../policy/affinity/options.ts";
import { Rebalance, type TunnelLoad } from "../policy/affinity/rebalance.ts";
import type { Backend } from "../policy/model/backend.ts";
import { tunnelLoads } from "../policy/upstream/tunnel-loads.ts";
import type { Upstream, UpstreamChange } from "../policy/upstream/upstream.ts";
import type { Clock, Timer } from "../time/clock.ts";
import type { Services } from "./services.ts";

/** A tunnel that may be asked to go. */
export interface MovableTunnel {
  /** Whose it is: see `Upstream.mayLeave`. */
  readonly who: string;
  /** When something last passed, either way. */
  readonly lastActiveMs: number;
  /** Whether its protocol has a way to say so, and this is a moment for it. */
  readonly mayClose: boolean;
  /** Tells its client to come again; false where `mayClose` is. It belongs to its backend no more when this returns. */
  closeGently(): boolean;
}

/** What a rebalancer is made of. */
export interface RebalancerInit {
  readonly upstream: Upstream;
  readonly options: RebalanceOptions;
  readonly services: Pick<Services, "clock" | "random">;
  /** A tunnel was closed. */
  readonly closed: () => void;
}

/** The tunnels open on one backend, and who of them goes first. */
class OpenTunnels {
  readonly all = new Set<MovableTunnel>();
  /** Those that could go when it was last looked, the longest idle at the end. */
  #idle: MovableTunnel[] = [];

  /** Closes the one that has been idle for longest, if any can be closed: that one. */
  closeOne(): MovableTunnel | undefined {
    return this.#closeListed() ?? (this.#list() ? this.#closeListed() : undefined);
  }

  /** Nobody has to go for now. */
  forget(): void {
    this.#idle = [];
  }

  /** Much may have passed since they were listed: each is asked again. */
  #closeListed(): MovableTunnel | undefined {
    for (let tunnel = this.#idle.pop(); tunnel !== undefined; tunnel = this.#idle.pop()) {
      if (tunnel.closeGently()) return tunnel;
    }
    return undefined;
  }

  #list(): boolean {
    for (const tunnel of this.all) if (tunnel.mayClose) this.#idle.push(tunnel);
    this.#idle.sort((a, b) => b.lastActiveMs - a.lastActiveMs);
    return this.#idle.length > 0;
  }
}

/**
 * Closes idle tunnels of an upstream, in this worker, when a backend of its was added or has come back: so that it gets
 * its share of them. How many, of which backend and when is the policy's to say (policy/affinity/rebalance.ts,
 * policy/upstream/tunnel-loads.ts).
 */
export class Rebalancer {
  readonly #upstream: Upstream;
  readonly #clock: Clock;
  readonly #closed: () => void;
  readonly #rebalance: Rebalance<Backend>;
  readonly #timer: Timer;
  readonly #tunnels = new Map<Backend, OpenTunnels>();
  readonly #stopListening: () => void;

  constructor({ upstream, options, services, closed }: RebalancerInit) {
    this.#upstream = upstream;
    this.#clock = services.clock;
    this.#closed = closed;
    this.#rebalance = new Rebalance(options, services.random);
    this.#timer = services.clock.timer(() => this.#woken());
    this.#stopListening = upstream.onChange((change) => this.#changed(change));
  }

  /** The tunnels of its backend in `slot`, to join and to leave; undefined when it has none there. */
  tunnelsAt(slot: number): Set<MovableTunnel> | undefined {
    const backend = this.#upstream.backends.find((each) => each.slot === slot);
    if (backend === undefined) return undefined;
    let tunnels = this.#tunnels.get(backend);
    if (tunnels === undefined) {
      tunnels = new OpenTunnels();
      this.#tunnels.set(backend, tunnels);
    }
    return tunnels.all;
  }

  close(): void {
    this.#stopListening();
    this.#timer.clear();
  }

  #changed(change: UpstreamChange): void {
    if (change.kind === "removed") this.#tunnels.delete(change.backend);
    if (change.kind !== "added" && !(change.kind === "state" && change.to === "up")) return;
    this.#rebalance.grown(this.#loads(), this.#clock.now());
    this.#setTimer();
  }

  #woken(): void {
    const now = this.#clock.now();
    const rebalance = this.#rebalance;
    for (let backend = this.#next(now); backend !== undefined; backend = this.#next(now)) {
      const closed = this.#tunnels.get(backend)?.closeOne();
      if (closed !== undefined) {
        rebalance.gave(backend, now);
        this.#upstream.mayLeave(backend, closed.who, now);
        this.#closed();
      } else {
        rebalance.hasNoneToGive(backend, now);
      }
    }
    this.#setTimer();
  }

  #next(now: number): Backend | undefined {
    return this.#rebalance.next(this.#loads(), now);
  }

  #setTimer(): void {
    const { wakeAtMs } = this.#rebalance;
    if (wakeAtMs === Number.POSITIVE_INFINITY) for (const tunnels of this.#tunnels.values()) tunnels.forget();
    this.#timer.set(Math.max(0, wakeAtMs - this.#clock.now()));
  }

  #loads(): TunnelLoad<Backend>[] {
    return tunnelLoads(this.#upstream, (backend) => this.#tunnels.get(backend)?.all.size ?? 0);
  }
}

/** Where a tunnel to the backend in `slot` is to be held; undefined where nobody asks tunnels to go. */
export function openTunnelsAt(services: Services, slot: number): Set<MovableTunnel> | undefined {
  for (const { rebalancer } of services.upstreams.values()) {
    const tunnels = rebalancer?.tunnelsAt(slot);
    if (tunnels !== undefined) return tunnels;
  }
  return undefined;
}
