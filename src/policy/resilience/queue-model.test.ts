import fc from "fast-check";
import { expect, test } from "vitest";
import type { Priority, QueueOptions } from "./options.ts";
import { type ShedFromQueue, type Waiter, WaitingQueue } from "./queue.ts";
import { ServiceRate } from "./service-rate.ts";
import type { Place } from "./waiting-line.ts";

const NEVER = Number.POSITIVE_INFINITY;
const PRIORITIES: readonly Priority[] = ["high", "normal", "low"];

class Guest implements Waiter {
  readonly id: number;
  readonly priority: Priority;
  readonly deadlineMs: number;
  place: Place | undefined = undefined;
  joinedMs = 0;

  constructor(id: number, priority: Priority, deadlineMs: number) {
    this.id = id;
    this.priority = priority;
    this.deadlineMs = deadlineMs;
  }
}

/** What the queue promises, over an array in the order of joining, by looking at everyone each time. */
class Model {
  waiting: Guest[] = [];
  readonly shed: string[] = [];
  overloaded = false;
  #options: QueueOptions;
  #overloadedAtMs = NEVER;
  #clearedMs = -NEVER;
  #rate = new ServiceRate();

  constructor(options: QueueOptions) {
    this.#options = options;
  }

  #dueMs(guest: Guest): number {
    const { timeout, target } = this.#options;
    const patienceMs = Math.min(timeout, this.overloaded ? target : NEVER);
    return Math.min(guest.deadlineMs, guest.joinedMs + patienceMs);
  }

  get wakeAtMs(): number {
    const { timeout, target } = this.#options;
    const dues = this.waiting.map((guest) =>
      Math.min(guest.deadlineMs, guest.joinedMs + timeout, Math.max(this.#overloadedAtMs, guest.joinedMs + target)),
    );
    return Math.min(...dues);
  }

  advance(now: number): void {
    if (this.waiting.length > 0 && now >= this.#overloadedAtMs) this.overloaded = true;
    const due = this.waiting.filter((guest) => this.#dueMs(guest) <= now);
    for (const guest of due) {
      const own =
        guest.deadlineMs <
        guest.joinedMs + Math.min(this.#options.timeout, this.overloaded ? this.#options.target : NEVER);
      this.shed.push(`${guest.id} ${own ? "deadline" : "queue-timeout"}`);
    }
    const wasOverloaded = this.overloaded;
    this.waiting = this.waiting.filter((guest) => !due.includes(guest));
    if (due.length > 0) this.#left();
    if (due.length > 0 && wasOverloaded && this.waiting.length === 0) this.#clearedMs = now;
  }

  join(guest: Guest, now: number): string | undefined {
    this.advance(now);
    if (guest.deadlineMs <= now) return "deadline";
    const rank = PRIORITIES.indexOf(guest.priority);
    if (!this.overloaded && this.waiting.length > 0) {
      const ahead = this.waiting.filter((other) => PRIORITIES.indexOf(other.priority) <= rank).length;
      const leftMs = Math.min(this.#options.timeout, guest.deadlineMs - now);
      if (ahead / this.#rate.perMs(now) > 1.2 * leftMs) return "deadline";
    }
    if (this.waiting.length >= this.#options.max) {
      const worstRank = Math.max(...this.waiting.map((other) => PRIORITIES.indexOf(other.priority)));
      const worst = this.waiting.filter((other) => PRIORITIES.indexOf(other.priority) === worstRank);
      const victim = this.overloaded ? worst[0] : worst.at(-1);
      if (victim === undefined || rank > worstRank || (rank === worstRank && !this.overloaded)) return "queue-full";
      this.shed.push(`${victim.id} queue-full`);
      this.waiting = this.waiting.filter((other) => other !== victim);
    } else if (this.waiting.length === 0 && now - this.#clearedMs >= this.#options.target) {
      this.#overloadedAtMs = now + 5 * this.#options.target;
      this.#rate.begin(now);
    }
    guest.joinedMs = now;
    this.waiting.push(guest);
    this.overloaded = now >= this.#overloadedAtMs;
    return undefined;
  }

  next(now: number, accept: (guest: Guest) => boolean): Guest | undefined {
    this.advance(now);
    for (const priority of PRIORITIES) {
      const line = this.waiting.filter((guest) => guest.priority === priority);
      if (this.overloaded) line.reverse();
      const taken = line.slice(0, 16).find(accept);
      if (taken === undefined) continue;
      this.#rate.departed(now);
      this.leave(taken);
      return taken;
    }
    return undefined;
  }

  leave(guest: Guest): boolean {
    const waits = this.waiting.includes(guest);
    this.waiting = this.waiting.filter((other) => other !== guest);
    if (waits) this.#left();
    return waits;
  }

  #left(): void {
    if (this.waiting.length > 0) return;
    this.overloaded = false;
    this.#clearedMs = -NEVER;
  }
}

const guest = fc.record({
  do: fc.constant("join" as const),
  priority: fc.constantFrom(...PRIORITIES),
  hasMs: fc.oneof(fc.constant(NEVER), fc.integer({ min: 0, max: 400 })),
});
const command = fc.oneof(
  { weight: 8, arbitrary: guest },
  { weight: 6, arbitrary: fc.constant({ do: "next" as const }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("next of some" as const), odd: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("leave" as const), pick: fc.nat() }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.integer({ min: 0, max: 40 }) }) },
  { weight: 1, arbitrary: fc.constant({ do: "wait until woken" as const }) },
  { weight: 1, arbitrary: fc.constant({ do: "advance" as const }) },
);
const options = fc.record({
  max: fc.integer({ min: 0, max: 12 }),
  timeout: fc.oneof(fc.constant(NEVER), fc.integer({ min: 1, max: 300 })),
  target: fc.oneof(fc.constant(NEVER), fc.integer({ min: 1, max: 30 })),
});

test("does what an array does that is looked through each time", () => {
  fc.assert(
    fc.property(options, fc.array(command, { size: "large", maxLength: 150 }), (options, commands) => {
      const shed: string[] = [];
      const queue = new WaitingQueue<Guest>(options, (guest, why) => shed.push(`${guest.id} ${why}`));
      const model = new Model(options);
      const everyone: Guest[] = [];
      let now = 0;
      for (const command of commands) {
        switch (command.do) {
          case "join": {
            const guest = new Guest(everyone.length, command.priority, now + command.hasMs);
            everyone.push(guest);
            expect(queue.join(guest, now)).toBe(model.join(guest, now));
            break;
          }
          case "next":
            expect(queue.next(now)?.id).toBe(model.next(now, () => true)?.id);
            break;
          case "next of some": {
            const accept = (guest: Guest) => guest.id % 2 === (command.odd ? 1 : 0);
            expect(queue.next(now, accept)?.id).toBe(model.next(now, accept)?.id);
            break;
          }
          case "leave": {
            const guest = everyone[command.pick % Math.max(1, everyone.length)];
            if (guest !== undefined) expect(queue.leave(guest)).toBe(model.leave(guest));
            break;
          }
          case "wait":
            now += command.ms;
            break;
          case "wait until woken":
            if (queue.wakeAtMs === NEVER) break;
            now = Math.max(now, queue.wakeAtMs);
            queue.advance(now);
            model.advance(now);
            break;
          case "advance":
            queue.advance(now);
            model.advance(now);
        }
        expect([...shed.splice(0).sort(), queue.size, queue.overloaded, queue.wakeAtMs]).toEqual([
          ...model.shed.splice(0).sort(),
          model.waiting.length,
          model.overloaded,
          model.wakeAtMs,
        ]);
        expect(everyone.filter((guest) => guest.place !== undefined)).toEqual(model.waiting);
      }
    }),
    { numRuns: 500 },
  );
});

test("who is woken when it says is never woken for nothing, nor too late", () => {
  fc.assert(
    fc.property(options, fc.array(fc.tuple(guest, fc.integer({ min: 0, max: 20 }))), (options, guests) => {
      let shed = 0;
      const dues: number[] = [];
      const queue = new WaitingQueue<Guest>(options, (guest, _why, now) => {
        shed++;
        dues.push(now - Math.min(guest.deadlineMs, guest.joinedMs + options.timeout));
      });
      let now = 0;
      const wake = (until: number) => {
        while (queue.wakeAtMs <= until && queue.wakeAtMs < NEVER) {
          const before = shed;
          queue.advance(queue.wakeAtMs);
          expect(shed).toBeGreaterThan(before);
        }
      };
      for (const [joining, gapMs] of guests) {
        now += gapMs;
        wake(now);
        const guest = new Guest(0, joining.priority, now + joining.hasMs);
        guest.joinedMs = now;
        queue.join(guest, now);
      }
      wake(now + 1_000_000);
      for (const lateMs of dues) expect(lateMs).toBeLessThanOrEqual(0);
    }),
  );
});

test("whatever a shed waiter does at once, each is answered once and the bound holds", () => {
  const reaction = fc.constantFrom(
    "nothing",
    "join again",
    "a new one joins",
    "another leaves",
    "take the next",
    "advance",
  );
  const plan = fc.record({
    options,
    commands: fc.array(command, { size: "large", maxLength: 100 }),
    reactions: fc.array(reaction, { minLength: 1 }),
  });
  fc.assert(
    fc.property(plan, ({ options, commands, reactions }) => {
      const waiting = new Set<Guest>();
      const joining = new Set<Guest>();
      const everyone: Guest[] = [];
      let now = 0;
      let shed = 0;
      const join = (guest: Guest) => {
        // Before the call: by the time it returns, one that was shed for it may have taken it out again.
        waiting.add(guest);
        joining.add(guest);
        if (queue.join(guest, now) !== undefined) expect(waiting.delete(guest)).toBe(true);
        joining.delete(guest);
      };
      const newcomer = (priority: Priority, hasMs: number) => {
        const guest = new Guest(everyone.length, priority, now + hasMs);
        everyone.push(guest);
        join(guest);
      };
      const take = () => {
        const guest = queue.next(now);
        if (guest !== undefined) expect(waiting.delete(guest), "served, but did not wait").toBe(true);
      };
      const leave = (pick: number) => {
        const guest = everyone[pick % Math.max(1, everyone.length)];
        if (guest !== undefined && !joining.has(guest)) expect(queue.leave(guest)).toBe(waiting.delete(guest));
      };
      const queue: WaitingQueue<Guest> = new WaitingQueue(options, (guest: Guest, _why: ShedFromQueue) => {
        expect(waiting.delete(guest), "shed, but did not wait").toBe(true);
        expect(guest.place).toBeUndefined();
        expect(queue.size).toBeLessThanOrEqual(options.max);
        switch (reactions[shed++ % reactions.length]) {
          case "join again":
            join(guest);
            break;
          case "a new one joins":
            if (everyone.length < 1000) newcomer("high", 50);
            break;
          case "another leaves":
            leave(shed);
            break;
          case "take the next":
            take();
            break;
          case "advance":
            queue.advance(now);
        }
      });
      for (const command of commands) {
        if (command.do === "join") newcomer(command.priority, command.hasMs);
        else if (command.do === "leave") leave(command.pick);
        else if (command.do === "wait") now += command.ms;
        else if (command.do === "next") take();
        else queue.advance(now);
        expect(queue.size).toBeLessThanOrEqual(options.max);
        expect(queue.size).toBe(waiting.size);
        expect(everyone.filter((guest) => guest.place !== undefined)).toEqual(
          everyone.filter((guest) => waiting.has(guest)),
        );
      }
      while (queue.size > 0) take();
      expect(waiting.size).toBe(0);
    }),
    { numRuns: 300 },
  );
});
