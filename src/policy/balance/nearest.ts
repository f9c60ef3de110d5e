import type { Backend } from "../model/backend.ts";
import { haversine, haversineOfKm, kmOfHaversine, Place } from "../model/great-circle.ts";
import type { Outcome } from "../model/outcome.ts";
import type { Position } from "../model/position.ts";
import type { PickRequest } from "../model/request.ts";
import type { Balancer } from "./balancer.ts";
import { defineBalancer } from "./definition.ts";
import { LeastLoaded } from "./least-loaded.ts";
import type { Slot } from "./smooth-rotation.ts";
import { WeightedRoundRobin } from "./weighted-round-robin.ts";

/** How far is near, and what to go by when nobody knows where the client is. */
export interface NearestInit {
  /** Backends that are no farther than this behind the nearest count as just as near, in kilometres. Default 0. */
  readonly withinKm?: number;
  /** Backends that are farther away than this are never picked. Default Infinity. */
  readonly maxKm?: number;
  /** Whether the next nearest takes what the nearest has no room for; else that waits. Default true. */
  readonly spillover?: boolean;
  /** Region whose backends are the nearest when positions are not known. Default: empty, none. */
  readonly region?: string;
  /** The regions that come next, the nearer the earlier; all others come last. */
  readonly regions?: readonly string[];
  /** For when neither positions nor regions say anything. Its own. Default: weighted round robin. */
  readonly fallback?: Balancer;
}

/** A slot and where it is. */
interface Spot {
  readonly slot: Slot;
  readonly place: Place | undefined;
  readonly rank: number;
  /** Scratch of a pick: the greater the farther. Infinity: does not count. */
  away: number;
}

// Behind all haversines: the backends whose position is not known, in the order of their regions.
const BEHIND = 2;
const HALFWAY_ROUND_KM = 20_015;

/**
 * Nearest: the backend with room that is the least far from the client, by great-circle distance.
 *
 * All that are within `withinKm` of it are as good: among them least connections decides. A client in Busan, backends
 * with room for 2 exchanges each, `withinKm` 0, exchanges that run on:
 *     Seoul 325 km   Tokyo 959 km   Frankfurt 8875 km
 *     1 2            3 4            5 6                 the 7th waits
 * Without `spillover` the 3rd waits for Seoul. A backend that was tried in vain is passed over either way.
 *
 * Backends whose position is not known come last. When no position is known at all, or not that of the client, the
 * order of the regions counts as distance; where there is none either, the fallback decides.
 *
 * A pick is O(n), a few multiplications for each backend, and allocates nothing.
 */
export class Nearest implements Balancer {
  readonly selective: boolean;
  /** Left out where a fallback is asked that cannot tell. */
  readonly peek?: NonNullable<Balancer["peek"]>;
  readonly #rotation = new LeastLoaded();
  readonly #fallback: Balancer;
  readonly #withinKm: number;
  readonly #max: number;
  readonly #spillover: boolean;
  /** Rank by name of the region; empty when regions say nothing. */
  readonly #ranks = new Map<string, number>();
  #spots: readonly Spot[] = [];
  /** Whether the position of some member is known. */
  #placed = false;
  // Requests of a client mostly bring the same object: its place is worked out once.
  readonly #here = new Place({ latitude: 0, longitude: 0 });
  #hereOf: Position | undefined;

  constructor({
    withinKm = 0,
    maxKm = Infinity,
    spillover = true,
    region = "",
    regions = [],
    fallback = new WeightedRoundRobin(),
  }: NearestInit = {}) {
    this.selective = !spillover || maxKm < Infinity;
    this.#withinKm = withinKm;
    this.#max = haversineOfKm(maxKm);
    this.#spillover = spillover;
    this.#fallback = fallback;
    for (const name of [region, ...regions]) {
      if (name !== "" && !this.#ranks.has(name)) this.#ranks.set(name, this.#ranks.size);
    }
    if (this.#ranks.size > 0 || fallback.peek !== undefined) {
      this.peek = (request, now, exclude) => {
        if (!this.#goesByDistance(request)) return fallback.peek?.(request, now, exclude);
        this.#narrow(request.position, exclude);
        return this.#rotation.peek();
      };
    }
  }

  update(backends: readonly Backend[], members: readonly Backend[] = backends): void {
    this.#fallback.update(backends, members);
    this.#rotation.update(backends);
    this.#placed = members.some(({ position }) => position !== undefined);
    this.#spots = this.#rotation.slots.map((slot) => {
      const { position, region } = slot.backend;
      return {
        slot,
        place: position && new Place(position),
        rank: this.#ranks.get(region) ?? this.#ranks.size,
        away: Infinity,
      };
    });
  }

  pick(request: PickRequest, now: number, exclude?: ReadonlySet<Backend>): Backend | undefined {
    if (!this.#goesByDistance(request)) return this.#fallback.pick(request, now, exclude);
    this.#narrow(request.position, exclude);
    return this.#rotation.take();
  }

  settled(backend: Backend, outcome: Outcome, now: number): void {
    this.#rotation.settled(backend, outcome);
    this.#fallback.settled?.(backend, outcome, now);
  }

  #goesByDistance({ position }: PickRequest): boolean {
    return this.#ranks.size > 0 || (this.#placed && position !== undefined);
  }

  /** Leaves those in the rotation that are the nearest, with room where there is some. */
  #narrow(position: Position | undefined, exclude: ReadonlySet<Backend> | undefined): void {
    if (!this.#offer(this.#measure(position, exclude, true), true)) {
      this.#offer(this.#measure(position, exclude, false), false);
    }
  }

  /** Says of each how far away it is, and answers with how far the nearest are. */
  #measure(position: Position | undefined, exclude: ReadonlySet<Backend> | undefined, withRoom: boolean): number {
    if (position !== undefined && position !== this.#hereOf) {
      this.#here.moveTo(position);
      this.#hereOf = position;
    }
    const spots = this.#spots;
    let nearest = Infinity;
    for (let i = 0; i < spots.length; i++) {
      const spot = spots[i]!;
      spot.away = this.#counts(spot.slot.backend, exclude, withRoom) ? this.#awayFrom(spot, position) : Infinity;
      if (spot.away < nearest) nearest = spot.away;
    }
    if (this.#withinKm === 0 || nearest > 1) return nearest;
    // Rounding must not put the nearest itself out of reach.
    return Math.max(nearest, haversineOfKm(kmOfHaversine(nearest) + this.#withinKm));
  }

  #awayFrom({ place, rank }: Spot, position: Position | undefined): number {
    if (place === undefined || position === undefined) return BEHIND + rank;
    const away = haversine(this.#here, place);
    return away <= this.#max ? away : Infinity;
  }

  /** Whether a backend has a say in how far is near. One that was tried in vain has none. */
  #counts(backend: Backend, exclude: ReadonlySet<Backend> | undefined, withRoom: boolean): boolean {
    // Without spillover a full one is not passed over for one that is farther away.
    return exclude?.has(backend) !== true && (!this.#spillover || !withRoom || backend.hasRoom);
  }

  /** Keeps those in the rotation that are not farther than `reach`; answers whether there is one. */
  #offer(reach: number, withRoom: boolean): boolean {
    const spots = this.#spots;
    let some = false;
    for (let i = 0; i < spots.length; i++) {
      const { slot, away } = spots[i]!;
      slot.load = Infinity;
      if (away > reach || away === Infinity) continue;
      if (withRoom && !slot.backend.hasRoom) continue;
      slot.load = slot.backend.active + 1;
      some = true;
    }
    return some;
  }
}

/** For the registry. */
export const nearest = defineBalancer({
  about: "The backend with room that is nearest to the client. For servers in several places.",
  options: {
    withinKm: {
      type: "kilometres",
      default: 0,
      min: 0,
      max: HALFWAY_ROUND_KM,
      about: "Backends that are no farther than this behind the nearest count as just as near.",
    },
    maxKm: {
      type: "kilometres",
      default: Infinity,
      min: 1,
      max: Infinity,
      about: "Backends that are farther away than this are never picked.",
    },
    spillover: {
      type: "flag",
      default: true,
      about: "Whether the next nearest takes what the nearest has no room for. If not, that waits.",
    },
    region: {
      type: "region",
      default: "",
      about: "The region whose backends come first when positions are not known.",
    },
    regions: {
      type: "regions",
      default: [],
      about: "The regions that come next, in this order, when positions are not known. All others come last.",
    },
    fallback: {
      type: "balancer",
      default: "weighted-round-robin",
      about: "The balancer for requests of which neither positions nor regions say anything. It cannot be nearest.",
    },
  },
  create: ({ fallback, ...options }, _random, createOther) => {
    if (fallback === "nearest") throw new TypeError("nearest cannot be its own fallback: write another balancer");
    return new Nearest({ ...options, fallback: createOther(fallback) });
  },
});
