import type { Random } from "../../src/policy/model/random.ts";
import { pause } from "../support/wire.ts";
import type { Guest, Instance, Visit } from "./instances.ts";

/** How much there is: requests per second, and the most that are under way. */
const RATE = 300;
const MOST_UNDER_WAY = 64;
/** Every so many is the first of a session that nobody knows. */
const NEW_EACH = 10;
const LONGEST_MS = 20_000;

/** What became of the requests of some time. */
export interface Load {
  readonly visits: readonly (Visit & { readonly isNew: boolean })[];
  /** Requests that were not answered 200. */
  readonly failed: readonly string[];
  /** Requests that were not served by the backend of their session. */
  readonly astray: readonly string[];
}

export interface LoadOptions {
  /** They come to any instance. */
  readonly known: readonly Guest[];
  /** They come to the first instance alone. */
  readonly ofOne: readonly Guest[];
  readonly random: Random;
  newGuest(): Guest;
}

export interface RunningLoad {
  /** What became of those that have ended since the last time. */
  take(): Load;
  /** Keeps some guests out while `work` has them. */
  without(guests: readonly Guest[], work: () => Promise<unknown>): Promise<void>;
  /** No more; resolves with the rest when all have ended. */
  stop(): Promise<Load>;
}

/** Sends requests at an even rate; each guest has one under way at most. Stops by itself after 20 s. */
export function loadOn(instances: readonly Instance[], { known, ofOne, random, newGuest }: LoadOptions): RunningLoad {
  const all = [...known, ...ofOne];
  const places = new Map(ofOne.map((guest) => [guest, instances[0]!]));
  const busy = new Set<Guest>();
  let ended: Load = { visits: [], failed: [], astray: [] };
  let underWay = 0;
  let sent = 0;
  const beganAtMs = performance.now();

  const visit = async (guest: Guest, isNew: boolean): Promise<void> => {
    const instance = places.get(guest) ?? instances[Math.floor(random.next() * instances.length)]!;
    // One that is new stays with the instance that knows it.
    if (isNew) places.set(guest, instance);
    busy.add(guest);
    underWay++;
    const { home } = guest;
    const result = await guest.visit(instance);
    underWay--;
    busy.delete(guest);
    const { visits, failed, astray } = ended;
    const said = `${guest.kind} of ${home}: ${result.status} ${result.backend}`;
    ended = {
      visits: [...visits, { ...result, isNew }],
      failed: result.status === 200 ? failed : [...failed, said],
      astray: isNew || result.backend === home ? astray : [...astray, said],
    };
    if (isNew) all.push(guest);
  };

  const timer = setInterval(() => {
    const sinceMs = performance.now() - beganAtMs;
    if (sinceMs > LONGEST_MS) return clearInterval(timer);
    const due = Math.floor((sinceMs / 1_000) * RATE);
    while (sent < due && underWay < MOST_UNDER_WAY) {
      sent++;
      const isNew = sent % NEW_EACH === 0;
      const guest = isNew ? newGuest() : all[Math.floor(random.next() * all.length)]!;
      if (!busy.has(guest)) void visit(guest, isNew);
    }
    // What a machine that was busy with other things has missed is not sent all at once.
    sent = due;
  }, 10);

  const take = (): Load => {
    const taken = ended;
    ended = { visits: [], failed: [], astray: [] };
    return taken;
  };
  return {
    take,
    without: async (guests, work) => {
      while (guests.some((guest) => busy.has(guest))) await pause(1);
      for (const guest of guests) busy.add(guest);
      await work();
      for (const guest of guests) busy.delete(guest);
    },
    stop: async () => {
      clearInterval(timer);
      while (underWay > 0) await pause(5);
      return take();
    },
  };
}

/** A table of phases, for people. A look-up is the request of a session that the instance has to ask Redis for. */
export function report(phases: readonly (readonly [name: string, load: Load])[]): string {
  const rows = phases.map(([name, { visits, failed, astray }]) => {
    const times = (isNew: boolean) =>
      visits
        .filter((visit) => visit.isNew === isNew)
        .map(({ ms }) => ms)
        .sort((a, b) => a - b);
    const [found, looked] = [times(false), times(true)];
    const figures = [visits.length, failed.length, astray.length].map((figure) => String(figure).padStart(8));
    const quantiles = [found, looked].flatMap((list) => [quantile(list, 0.5), quantile(list, 0.99)]);
    return `${name.padEnd(18)}${figures.join("")}${quantiles.join("")}`;
  });
  const head = `${"".padEnd(18)}requests  failed   moved   p50 ms   p99 ms  look-up: p50  p99`;
  return [head, ...rows].join("\n");
}

function quantile(sorted: readonly number[], share: number): string {
  const ms = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  return (ms === undefined ? "-" : ms.toFixed(1)).padStart(9);
}
