import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Agent, request } from "undici";
import { expect, onTestFinished, test } from "vitest";
import type { SettingsInput } from "../../src/config/settings.ts";
import { startProxy } from "../support/proxy.ts";

/** Servers that answer with their place in the list. */
async function servers(count: number): Promise<{ ports: number[]; closeOne(index: number): Promise<void> }> {
  const list = await Promise.all(
    Array.from({ length: count }, async (_, index): Promise<Server> => {
      const server = createServer((_request, response) => response.end(String(index)));
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      return server;
    }),
  );
  const closeOne = async (index: number) => {
    const closed = new Promise((resolve) => list[index]!.close(resolve));
    list[index]!.closeAllConnections();
    await closed;
  };
  const ports = list.map((server) => (server.address() as AddressInfo).port);
  onTestFinished(async () => {
    await Promise.all(list.map((_, index) => closeOne(index)));
  });
  return { ports, closeOne };
}

async function run(upstream: SettingsInput["upstreams"][string]) {
  const proxy = await startProxy({
    listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
    upstreams: { web: upstream },
  });
  const agent = new Agent({ connections: 16 });
  onTestFinished(async () => {
    await agent.close();
    proxy.close();
  });
  /** Which server answers each target. */
  const ask = async (targets: readonly string[]): Promise<number[]> => {
    const answers = new Array<number>(targets.length);
    let next = 0;
    const work = async () => {
      for (let at = next++; at < targets.length; at = next++) {
        const { body, statusCode } = await request(`http://127.0.0.1:${proxy.port}${targets[at]}`, {
          dispatcher: agent,
        });
        const text = await body.text();
        expect([statusCode, text]).toEqual([200, text]);
        answers[at] = Number(text);
      }
    };
    await Promise.all(Array.from({ length: 16 }, work));
    return answers;
  };
  return { proxy, ask };
}

test("10,000 requests over weights 4:2:1 are answered 5714, 2857 and 1429 times", async () => {
  const { ports } = await servers(3);
  const [a, b, c] = ports.map((port) => `http://127.0.0.1:${port}`) as [string, string, string];
  const { ask, proxy } = await run({
    balance: "weighted-round-robin",
    backends: [{ url: a, weight: 4 }, { url: b, weight: 2 }, c],
  });
  const answers = await ask(new Array<string>(10_000).fill("/"));
  expect([0, 1, 2].map((index) => answers.filter((answer) => answer === index).length)).toEqual([5714, 2857, 1429]);
  const { total, upstreams } = proxy.snapshot();
  expect(total).toMatchObject({ requests: 10_000, failed: 0, active: 0 });
  expect(upstreams[0]!.backends.map(({ requests, failures }) => [requests, failures])).toEqual([
    [5714, 0],
    [2857, 0],
    [1429, 0],
  ]);
  expect(total.buckets.reduce((sum, count) => sum + count, 0)).toBe(10_000);
}, 60_000);

/** murmur3_32 with seed 0, from its description (Austin Appleby, MurmurHash3.cpp), in 64-bit integers. */
function murmur(text: string): number {
  const M = 0xffff_ffffn;
  const bytes = Buffer.from(text, "latin1");
  const rotate = (x: bigint, by: bigint) => ((x << by) | (x >> (32n - by))) & M;
  const scramble = (k: bigint) => (rotate((k * 0xcc9e2d51n) & M, 15n) * 0x1b873593n) & M;
  let h = 0n;
  let at = 0;
  for (; at + 4 <= bytes.length; at += 4) {
    h ^= scramble(BigInt(bytes.readUInt32LE(at)));
    h = (rotate(h, 13n) * 5n + 0xe6546b64n) & M;
  }
  let tail = 0n;
  for (let i = bytes.length - 1; i >= at; i--) tail = (tail << 8n) | BigInt(bytes[i]!);
  h ^= scramble(tail);
  h ^= BigInt(bytes.length);
  h ^= h >> 16n;
  h = (h * 0x85ebca6bn) & M;
  h ^= h >> 13n;
  h = (h * 0xc2b2ae35n) & M;
  return Number(h ^ (h >> 16n));
}

/** The rule: 150 points "host:port#j" a backend; a key belongs to the first point at or behind its hash, round the end. */
function owners(ports: readonly number[], keys: readonly string[], away: ReadonlySet<number> = new Set()): number[] {
  const ring = ports
    .flatMap((port, index) =>
      Array.from({ length: 150 }, (_, j) => ({ hash: murmur(`127.0.0.1:${port}#${j}`), index })),
    )
    .filter(({ index }) => !away.has(index))
    .sort((a, b) => a.hash - b.hash);
  return keys.map((key) => {
    const hash = murmur(key);
    return (ring.find((point) => point.hash >= hash) ?? ring[0]!).index;
  });
}

test("the tests' own murmur3 gives its published values", () => {
  expect(murmur("")).toBe(0);
  expect(murmur("hello")).toBe(0x248bfa47);
  expect(murmur("hello, world")).toBe(0x149bbb7f);
  expect(murmur("The quick brown fox jumps over the lazy dog")).toBe(0x2e4ff723);
});

test("consistent hash puts 1,000 keys where the rule puts them; without one backend only its keys move, and they come back", async () => {
  const { ports, closeOne } = await servers(4);
  const keys = Array.from({ length: 1_000 }, (_, i) => `/object/${i}/${(i * 7919) % 1000}`);
  const { ask, proxy } = await run({
    balance: { policy: "consistent-hash", key: "uri", virtualNodes: 150 },
    backends: ports.map((port) => `http://127.0.0.1:${port}`),
  });
  const before = owners(ports, keys);
  expect(new Set(before).size).toBe(4);
  expect(await ask(keys)).toEqual(before);

  proxy.plane.setHealth(2, false, "connection refused");
  const without = await ask(keys);
  expect(without).toEqual(owners(ports, keys, new Set([2])));
  expect(without.every((owner, i) => owner === before[i] || before[i] === 2)).toBe(true);
  expect(without).not.toContain(2);

  proxy.plane.setHealth(2, true, "check passed");
  expect(await ask(keys)).toEqual(before);

  // Gone without anybody having said so: each of its requests finds the same next backend.
  await closeOne(2);
  expect(await ask(keys)).toEqual(without);
}, 60_000);
