import type { Backend } from "../model/backend.ts";
import type { Outcome } from "../model/outcome.ts";
import type { PickRequest } from "../model/request.ts";
import { AliasTable } from "./alias-table.ts";
import type { Balancer } from "./balancer.ts";
import { defineBalancer } from "./definition.ts";
import { type KeySource, keySource } from "./key.ts";
import { murmur3 } from "./murmur3.ts";
import { WeightedRoundRobin } from "./weighted-round-robin.ts";

const HASHES = 0x1_0000_0000;
// With half of the members away, one key in a million gets this far.
const MAX_ATTEMPTS = 20;

/**
 * IP hash: a client keeps its backend without anything being remembered.
 *
 * The hash chooses among all members, by weight; while the choice is unavailable or was tried before, the key is
 * hashed again, with the number of the attempt as seed. So a backend that goes away moves only its own clients,
 * spreads them over all others, and gets them back when it returns. Adding or removing a member, or changing a weight,
 * moves most clients: where that matters, take consistent-hash.
 *
 * A request without a key (a client on a Unix socket has no address) goes by weighted round robin.
 * A pick is O(1) while at least some members are available; nginx gives up after the same 20 attempts.
 */
export class IpHash implements Balancer {
  readonly #key: KeySource;
  readonly #turns = new WeightedRoundRobin();
  #available: readonly Backend[] = [];
  #isAvailable = new Set<Backend>();
  #members = new AliasTable([]);
  #rest = new AliasTable([]);

  constructor(key: KeySource = keySource("client-ip")) {
    this.#key = key;
  }

  update(backends: readonly Backend[], members: readonly Backend[] = backends): void {
    this.#available = backends.slice();
    this.#isAvailable = new Set(backends);
    this.#members = new AliasTable(members.filter((member) => member.weight > 0));
    this.#rest = new AliasTable(this.#available);
    this.#turns.update(backends);
  }

  pick(request: PickRequest, now: number, exclude?: ReadonlySet<Backend>): Backend | undefined {
    const key = this.#key(request);
    return key === undefined ? this.#turns.pick(request, now, exclude) : this.#find(key, exclude);
  }

  peek(request: PickRequest, now: number, exclude?: ReadonlySet<Backend>): Backend | undefined {
    const key = this.#key(request);
    return key === undefined ? this.#turns.peek(request, now, exclude) : this.#find(key, exclude);
  }

  settled(backend: Backend, outcome: Outcome): void {
    this.#turns.settled(backend, outcome);
  }

  #find(key: string, exclude: ReadonlySet<Backend> | undefined): Backend | undefined {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const backend = this.#members.at(murmur3(key, attempt) / HASHES);
      if (backend === undefined) return undefined;
      if (this.#isAvailable.has(backend) && !exclude?.has(backend)) return backend;
    }
    return this.#findInRest(key, exclude);
  }

  /** Most members are away: choose among those that are not, and step on from one that was tried. */
  #findInRest(key: string, exclude: ReadonlySet<Backend> | undefined): Backend | undefined {
    const choice = this.#rest.at(murmur3(key, MAX_ATTEMPTS) / HASHES);
    if (choice === undefined || !exclude?.has(choice)) return choice;
    const count = this.#available.length;
    const start = this.#available.indexOf(choice);
    for (let step = 1; step < count; step++) {
      const backend = this.#available[(start + step) % count]!;
      if (!exclude.has(backend)) return backend;
    }
    return undefined;
  }
}

/** For the registry. */
export const ipHash = defineBalancer({
  about: "The same client goes to the same backend, by a hash of its address. For sessions kept on the server.",
  options: {
    key: { type: "key", default: "client-ip", about: "What is hashed." },
  },
  create: ({ key }) => new IpHash(keySource(key)),
});
