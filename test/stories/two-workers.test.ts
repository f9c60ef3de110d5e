import { describe, expect, test } from "vitest";
import { findReusePort } from "../../src/control/reuse-port.ts";
import { SeededRandom } from "../../src/policy/model/random.ts";
import { pause } from "../support/wire.ts";
import { type BackendProcess, startBackends } from "./backend-process.ts";
import { type Answer, KeepAliveClient, Press, tally } from "./clients.ts";
import { runWhole, type Whole } from "./whole.ts";

const sharing = await findReusePort();
if (sharing === undefined) {
  const missing = "two workers need Node.js 22.12, or the package koffi on Linux";
  if (process.env.CI === "true") throw new Error(missing);
  console.warn(`skipped: the stories of two workers. ${missing}`);
}

/** Connected clients of each worker, `each` or more of both: the kernel spreads connections as it likes. */
async function clientsOfBothWorkers(port: number, each: number): Promise<[KeepAliveClient[], KeepAliveClient[]]> {
  const byWorker = new Map<string, KeepAliveClient[]>();
  for (let tries = 0; tries < 200; tries++) {
    const client = new KeepAliveClient(port);
    const { worker } = await client.get("/");
    byWorker.set(worker, [...(byWorker.get(worker) ?? []), client]);
    const [one = [], other = []] = byWorker.values();
    if (Math.min(one.length, other.length) >= each) {
      expect(byWorker.size).toBe(2);
      return [one, other];
    }
  }
  throw new Error(`200 connections, and not ${each} for each worker: ${[...byWorker.values()].map((c) => c.length)}`);
}

/** Waits until the shared counts say that `count` exchanges run: a worker counts after it has written. */
async function untilActive({ states }: Whole, count: number): Promise<void> {
  for (let tries = 0; tries < 500; tries++, await pause(2)) {
    const active = (await states()).reduce((sum, backend) => sum + backend.active, 0);
    if (active === count) return;
  }
  throw new Error(`never ${count} active`);
}

async function expectAccountsAgree(whole: Whole, answers: readonly Answer[], backends: readonly BackendProcess[]) {
  await untilActive(whole, 0);
  const { metric } = whole;
  expect(await metric("spillway_requests_total")).toBe(answers.length);
  expect(await metric("spillway_requests_failed_total")).toBe(0);
  expect(await metric("spillway_responses_total", 'code="200"')).toBe(answers.length);
  expect(await metric("spillway_responses_total")).toBe(answers.length);
  expect(await metric("spillway_request_duration_seconds_count")).toBe(answers.length);
  const served = tally(answers, ({ backend }) => backend);
  for (const backend of backends) {
    const { requests, connections, open } = await backend.figures();
    const of = `:${backend.port}"`;
    expect(requests).toBe(served[backend.name]);
    expect(await metric("spillway_backend_requests_total", of)).toBe(requests);
    expect(await metric("spillway_backend_failures_total", of)).toBe(0);
    expect(await metric("spillway_backend_attempts_ended_total", of)).toBe(requests);
    expect(await metric("spillway_backend_connections_opened_total", of)).toBe(connections);
    expect(await metric("spillway_backend_connections", of)).toBe(open);
  }
}

describe.skipIf(sharing === undefined)("two workers", () => {
  test("every request goes to a backend that has fewest, counted over both", async () => {
    const backends = await startBackends(["a", "b", "c"]);
    const whole = await runWhole({
      workers: 2,
      upstream: { balance: "least-connections", backends: backends.map(({ url }) => url), healthCheck: false },
    });
    const clients = (await clientsOfBothWorkers(whole.port, 12)).flatMap((ofOne) => ofOne.slice(0, 12));
    const random = new SeededRandom(3);
    const take = <T>(list: T[]): T => list.splice(Math.floor(random.next() * list.length), 1)[0]!;
    const active: Record<string, number> = { a: 0, b: 0, c: 0 };
    const running: { client: KeepAliveClient; key: string; backend: string; rest(): Promise<void> }[] = [];
    const idle = [...clients];
    let widest = 0;
    await untilActive(whole, 0);
    for (let key = 0; key < 240; ) {
      while (idle.length > 0) {
        const fewest = Math.min(...Object.values(active));
        const client = take(idle);
        const { backend, rest } = await client.begin(`/hold/${key}`);
        expect({ key, backend, active: active[backend], of: { ...active } }).toMatchObject({ active: fewest });
        active[backend]!++;
        running.push({ client, key: String(key++), backend, rest });
      }
      // Some of one backend, so that the others have more than it.
      const least = ["a", "b", "c"][Math.floor(random.next() * 3)]!;
      const leaving = running.filter(({ backend }) => backend === least).slice(0, 1 + Math.floor(random.next() * 8));
      for (const one of leaving) {
        backends.find(({ name }) => name === one.backend)!.release(one.key);
        await one.rest();
        active[one.backend]!--;
        running.splice(running.indexOf(one), 1);
        idle.push(one.client);
      }
      widest = Math.max(widest, Math.max(...Object.values(active)) - Math.min(...Object.values(active)));
      await untilActive(whole, running.length);
    }
    expect(widest).toBeGreaterThanOrEqual(4);
    for (const { backend, key, rest } of running) {
      backends.find(({ name }) => name === backend)!.release(key);
      await rest();
    }
  });

  test("slow backends have almost the same number of requests each, whoever carries them", async () => {
    const backends = await startBackends(["a", "b", "c"]);
    const whole = await runWhole({
      workers: 2,
      upstream: { balance: "least-connections", backends: backends.map(({ url }) => url) },
    });
    const answers = await new Press(whole.port, 48, (index) => `/wait/${20 + ((index * 37) % 60)}`, 3_000).whole();
    expect(tally(answers, ({ status }) => status)).toEqual({ 200: 3_000 });
    const byWorker = Object.values(tally(answers, ({ worker }) => worker));
    const most = (await Promise.all(backends.map((backend) => backend.figures()))).map(({ mostActive }) => mostActive);
    console.log(`48 clients, requests by worker ${byWorker.join(" / ")}, most at once by backend ${most.join(" / ")}`);
    expect(byWorker.length).toBe(2);
    // 16 each if all were counted in one place at one moment; two workers can pick within the same one.
    for (const count of most) expect(count).toBeLessThanOrEqual(20);
  });

  test("maxConnections: 4 holds over both, none of 3,000 requests of 64 clients is lost, and all accounts agree", async () => {
    const backends = await startBackends(["a", "b", "c"]);
    const whole = await runWhole({
      workers: 2,
      upstream: {
        balance: "least-connections",
        backends: backends.map(({ url }) => ({ url, maxConnections: 4 })),
        healthCheck: false,
        pool: { queue: { max: 1024, timeout: "7s" } },
      },
    });
    const press = new Press(whole.port, 64, "/wait/5", 3_000);
    const answers = await press.whole();
    expect(tally(answers, ({ status }) => status)).toEqual({ 200: 3_000 });
    const byWorker = Object.values(tally(answers, ({ worker }) => worker));
    const figures = await Promise.all(backends.map((backend) => backend.figures()));
    const most = figures.map(({ mostOpen }) => mostOpen);
    const opened = figures.map(({ connections }) => connections);
    const slowest = Math.max(...answers.map(({ sentMs, endedMs }) => endedMs - sentMs));
    console.log(
      `requests by worker ${byWorker.join(" / ")}, most connections at once ${most.join(" / ")}, opened in total ${opened.join(" / ")}, slowest answer ${Math.round(slowest)} ms`,
    );
    expect(byWorker.length).toBe(2);
    expect(most).toEqual([4, 4, 4]);
    for (const { mostActive } of figures) expect(mostActive).toBeLessThanOrEqual(4);
    await expectAccountsAgree(whole, answers, backends);
    expect(await whole.metric("spillway_client_connections_total")).toBe(64);
  });

  test("a worker that needs a connection gets one of those that the other holds idle", async () => {
    const [backend] = (await startBackends(["a"])) as [BackendProcess];
    const whole = await runWhole({
      workers: 2,
      upstream: {
        backends: [{ url: backend.url, maxConnections: 4 }],
        healthCheck: false,
        pool: { queue: { max: 1024, timeout: "7s" } },
      },
    });
    const [one, other] = await clientsOfBothWorkers(whole.port, 4);
    const slowest = { one: 0, four: 0 };
    for (let round = 0; round < 10; round++) {
      const [holder, needy] = round % 2 === 0 ? [one, other] : [other, one];
      // Long enough for it to get those the other one has left.
      const all = await Promise.all(holder.slice(0, 4).map((client) => client.get("/wait/100")));
      await untilActive(whole, 0);
      const before = await backend.figures();
      expect(before.open).toBe(4);
      const single = await needy[0]!.get("/");
      // It had none of its own.
      expect((await backend.figures()).connections).toBe(before.connections + 1);
      const four = await Promise.all(needy.slice(0, 4).map((client) => client.get("/wait/20")));
      expect([...all, single, ...four].map(({ status }) => status)).toEqual(new Array(9).fill(200));
      expect(single.worker).not.toBe(all[0]!.worker);
      slowest.one = Math.max(slowest.one, single.endedMs - single.sentMs);
      slowest.four = Math.max(slowest.four, ...four.map(({ sentMs, endedMs }) => endedMs - sentMs - 20));
    }
    const { mostOpen, connections } = await backend.figures();
    console.log(
      `ten times from one worker to the other: ${connections} connections opened, at most ${mostOpen} at once; the first waited ${slowest.one.toFixed(1)} ms at most, the next four ${slowest.four.toFixed(1)} ms`,
    );
    expect(mostOpen).toBe(4);
    expect(slowest.one).toBeLessThan(1_000);
    expect(slowest.four).toBeLessThan(1_000);
  });
});
