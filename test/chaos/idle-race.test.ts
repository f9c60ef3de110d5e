import { expect, onTestFinished, test } from "vitest";
import { closingBackend } from "../support/chaos-idle-backend.ts";
import { KeepAliveClient } from "../support/chaos-keep-alive.ts";
import { type RequestKind, requestOf, whole } from "../support/chaos-requests.ts";
import { startProxy } from "../support/proxy.ts";
import { together } from "./together.ts";

const SEED = Number(process.env.SPILLWAY_CHAOS_SEED ?? 20_261_124);
const REQUESTS = 20_000;
const CLIENTS = 24;

/** Sends `requests` through a proxy in front of backends that close their idle connections whenever they like. */
async function race(kind: RequestKind, seed: number, requests = REQUESTS, alone = false) {
  const backends = await Promise.all(alone ? [closingBackend(seed)] : [closingBackend(seed), closingBackend(seed + 1)]);
  const proxy = await startProxy({
    listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
    upstreams: { web: { backends: backends.map(({ url }) => url), ...(alone ? { retry: false } : {}) } },
  });
  const clients = Array.from({ length: CLIENTS }, () => new KeepAliveClient(proxy.port));
  onTestFinished(async () => {
    for (const client of clients) client.close();
    proxy.close();
    await Promise.all(backends.map((backend) => backend.close()));
  });
  const failed = new Map<string, string>();
  const free = [...clients];
  await together(CLIENTS, Array.from({ length: requests }), async (_, at) => {
    const id = `r${at}`;
    const client = free.pop()!;
    const reply = await client.send(whole(requestOf(kind, id, 40)));
    free.push(client);
    if (reply.status !== 200) failed.set(id, `${reply.status} ${reply.id}`);
    else if (reply.id !== id) failed.set(id, `THE ANSWER TO ${reply.id}`);
  });
  const times = (counts: "came" | "answered", id: string) =>
    backends.reduce((all, backend) => all + (backend[counts].get(id) ?? 0), 0);
  const closed = (how: "idle" | "behind" | "upon") => backends.reduce((all, backend) => all + backend.closed[how], 0);
  const stats = proxy.snapshot().upstreams[0]!.backends;
  // Each way of closing happened often enough to mean something.
  for (const how of ["idle", "behind", "upon"] as const) expect(closed(how), how).toBeGreaterThan(requests / 100);
  const { exchanges, waiting, backends: pools } = proxy.plane.inspect();
  expect(pools.reduce((all, { busy, opening }) => all + busy + opening, exchanges + waiting)).toBe(0);
  return { failed, times, closed, stats };
}

const again = `SPILLWAY_CHAOS_SEED=${SEED} does it again`;

test("20,000 GETs to backends that close idle connections at random moments, also as a request comes: all are answered", async () => {
  const { failed, stats } = await race("GET", SEED);
  expect([...failed], again).toEqual([]);
  expect(stats.reduce((all, { replayed }) => all + replayed, 0)).toBeGreaterThan(REQUESTS / 100);
});

test("it takes neither retries nor another backend for that", async () => {
  const { failed } = await race("GET", SEED + 4, 4_000, true);
  expect([...failed], again).toEqual([]);
});

test("of 20,000 POSTs to them none is delivered twice, and none fails but those whose connection was closed upon them", async () => {
  const { failed, times, closed } = await race("POST", SEED + 2);
  const ids = Array.from({ length: REQUESTS }, (_, at) => `r${at}`);
  expect(
    ids.filter((id) => times("came", id) > 1),
    again,
  ).toEqual([]);
  for (const [id, how] of failed) {
    expect(how, `${id}, ${again}`).toBe("502 ");
    expect(times("answered", id), `${id}, ${again}`).toBe(0);
  }
  // Closed as the POST came, or so shortly before that the proxy could not know.
  expect(failed.size).toBeLessThanOrEqual(closed("upon") + closed("idle") + closed("behind"));
  console.log(`${failed.size} of ${REQUESTS} POSTs failed; ${closed("upon")} connections were closed upon one`);
});
