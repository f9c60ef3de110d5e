import type { Backend } from "../model/backend.ts";
import type { Outcome } from "../model/outcome.ts";
import type { PickRequest } from "../model/request.ts";
import type { Balancer } from "./balancer.ts";
import { defineBalancer } from "./definition.ts";
import { HashRing } from "./hash-ring.ts";
import { type KeySource, keySource } from "./key.ts";
import { murmur3 } from "./murmur3.ts";
import { WeightedRoundRobin } from "./weighted-round-robin.ts";

/** What the hash goes by, and how many points a weight of 1 has on the ring. */
export interface ConsistentHashInit {
  readonly key?: KeySource;
  readonly virtualNodes?: number;
}

/**
 * Consistent hashing: a key keeps its backend, and a change of membership moves only the keys it must.
 *
 * Every member stands on a ring of 2^32 places at `virtualNodes` x weight points, murmur3("address#j"). A key belongs
 * to the first point at or behind its own hash, past the end to the first of all. When that backend is unavailable or
 * was tried before, the next point decides, and so on: the ring is not rebuilt, and the backend gets its keys back
 * when it returns. A new member takes keys from others and moves none between them; more weight takes keys, less gives
 * some away.
 *
 * A request without the key goes by weighted round robin. A pick is O(log n) and allocates nothing.
 * Source: Karger and others, STOC 1997, pages 654-663.
 */
export class ConsistentHash implements Balancer {
  readonly #key: KeySource;
  readonly #ring: HashRing;
  readonly #turns = new WeightedRoundRobin();

  constructor({ key = keySource("uri"), virtualNodes = 150 }: ConsistentHashInit = {}) {
    this.#key = key;
    this.#ring = new HashRing(virtualNodes);
  }

  update(backends: readonly Backend[], members: readonly Backend[] = backends): void {
    this.#ring.update(backends, members);
    this.#turns.update(backends);
  }

  pick(request: PickRequest, now: number, exclude?: ReadonlySet<Backend>): Backend | undefined {
    const key = this.#key(request);
    return key === undefined ? this.#turns.pick(request, now, exclude) : this.#ring.find(murmur3(key), exclude);
  }

  peek(request: PickRequest, now: number, exclude?: ReadonlySet<Backend>): Backend | undefined {
    const key = this.#key(request);
    return key === undefined ? this.#turns.peek(request, now, exclude) : this.#ring.find(murmur3(key), exclude);
  }

  settled(backend: Backend, outcome: Outcome): void {
    this.#turns.settled(backend, outcome);
  }
}

/** For the registry. */
export const consistentHash = defineBalancer({
  about: "The same key goes to the same backend, and a change of membership moves few keys. For distributed caches.",
  options: {
    key: {
      type: "key",
      // The main use is a row of caches: each object should lie in one of them, whoever asks for it.
      default: "uri",
      about: "What is hashed. The default keeps each object in one cache, whoever asks for it.",
    },
    virtualNodes: {
      type: "integer",
      default: 150,
      min: 1,
      max: 10_000,
      about: "Points on the ring for a weight of 1. More share the keys more evenly and cost memory, 8 bytes each.",
    },
  },
  create: ({ key, virtualNodes }) => new ConsistentHash({ key: keySource(key), virtualNodes }),
});
