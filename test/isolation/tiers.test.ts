import { describe, expect, test } from "vitest";
import { ok } from "../support/raw-backend.ts";
import { get, post, scene } from "../support/scene.ts";
import { ask, cast, Gate, queued } from "./cast.ts";

type Rank = boolean | number;

/** Backends of these ranks, each answering with its number. */
async function tiered(
  ranks: readonly Rank[],
  upstream: object = {},
  act = ({ backend }: { backend: number }) => ok(`${backend}`),
) {
  const company = cast(ranks.length, act as never);
  const stage = await scene(company.scripts, {
    settings: (urls) => ({
      listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
      upstreams: {
        web: {
          balance: "round-robin",
          backends: urls.map((url, i) => ({ url, backup: ranks[i]! as boolean })),
          ...upstream,
        },
      },
    }),
  });
  return {
    company,
    stage,
    health: (slot: number, up: boolean) => stage.proxy.plane.setHealth(slot, up, "said by the test"),
    /** Who got how many of so many more requests; all have to be served. */
    shares: async (count: number) => {
      const before = [...company.counts];
      const wire = await stage.client();
      for (let i = 0; i < count; i++) {
        wire.write(get());
        expect((await wire.response()).status).toBe(200);
      }
      return company.counts.map((now, i) => now - before[i]!);
    },
  };
}

describe("backups", () => {
  test("get nothing while those before them can carry everything", async () => {
    const { shares } = await tiered([false, false, true]);
    expect(await shares(40)).toEqual([20, 20, 0]);
  });

  test("get everything while all before them are down, and nothing again when those are back", async () => {
    const { shares, health } = await tiered([false, true, true]);
    health(0, false);
    expect(await shares(10)).toEqual([0, 5, 5]);
    health(0, true);
    expect(await shares(10)).toEqual([10, 0, 0]);
  });

  test("get what a tier cannot carry that is short of backends", async () => {
    const { shares, health } = await tiered([false, false, true]);
    health(0, false);
    // One of two is up: 1.4 * 50 % = 70 %.
    expect(await shares(100)).toEqual([0, 70, 30]);
  });

  test("a tier that lacks one of four still carries everything", async () => {
    const { shares, health } = await tiered([false, false, false, false, true]);
    health(2, false);
    expect(await shares(30)).toEqual([10, 10, 0, 10, 0]);
  });

  test("of later tiers come later", async () => {
    const { shares, health } = await tiered([0, 1, 2]);
    health(0, false);
    expect(await shares(5)).toEqual([0, 5, 0]);
    health(1, false);
    expect(await shares(5)).toEqual([0, 0, 5]);
  });

  test("take over what the first could not be connected to, or failed", async () => {
    const { stage, company } = await tiered([false, true], {}, ((delivery: {
      backend: number;
      wire: { reset(): void };
    }) => (delivery.backend === 0 ? delivery.wire.reset() : ok("backup"))) as never);
    expect((await ask(stage, get())).body).toBe("backup");
    expect((await ask(stage, post("order"))).status).toBe(502);
    expect(company.counts).toEqual([2, 1]);
  });

  test("take over from an open circuit", async () => {
    const { stage, shares } = await tiered(
      [false, true],
      { retry: false, circuitBreaker: { consecutiveFailures: 2, openFor: "30s" } },
      ({ backend }) => (backend === 0 ? "HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n" : ok("backup")),
    );
    for (let i = 0; i < 2; i++) expect((await ask(stage, get())).status).toBe(500);
    expect(await shares(6)).toEqual([0, 6]);
  });

  test("are not there for those that only lack room: they wait", async () => {
    const gate = new Gate();
    const { stage, company } = await tiered([false, true], { pool: { maxConnections: 1 } }, (() =>
      gate.hold(ok())) as never);
    const held = ask(stage, get());
    await gate.filled(1);
    const waiting = ask(stage, get());
    await queued(stage, 1);
    gate.release();
    expect((await held).status).toBe(200);
    await gate.filled(1);
    gate.release();
    expect((await waiting).status).toBe(200);
    expect(company.counts).toEqual([2, 0]);
  });

  test("that carry a part already take what the others have no room for; those that carry none do not", async () => {
    const gate = new Gate();
    const { stage, company, health } = await tiered([0, 0, 1, 2], { pool: { maxConnections: 3 } }, (() =>
      gate.hold(ok())) as never);
    health(0, false);
    const served = Array.from({ length: 6 }, () => ask(stage, get()));
    await gate.filled(6);
    const waiting = ask(stage, get());
    await queued(stage, 1);
    expect(company.counts).toEqual([0, 3, 3, 0]);
    gate.release(6);
    for (const response of served) expect((await response).status).toBe(200);
    await gate.filled(1);
    gate.release();
    expect((await waiting).status).toBe(200);
    expect(company.counts[3]).toBe(0);
  });

  test("with all down, the answer is 503", async () => {
    const { stage, health } = await tiered([false, true]);
    health(0, false);
    health(1, false);
    const response = await ask(stage, get());
    expect(response.status).toBe(503);
    expect(response.value("spillway-reason")).toBe("no-backend");
    expect(Number(response.value("retry-after"))).toBeGreaterThan(0);
  });
});

describe("panicThreshold", () => {
  test("with fewer healthy than that, all are used, whatever the checks say", async () => {
    const { shares, health } = await tiered([false, false, false, false], { panicThreshold: "50%" });
    health(0, false);
    health(1, false);
    // Half of them is not less than half.
    expect(await shares(8)).toEqual([0, 0, 4, 4]);
    health(2, false);
    expect(await shares(8)).toEqual([2, 2, 2, 2]);
    health(0, true);
    expect(await shares(8)).toEqual([4, 0, 0, 4]);
  });

  test("without it, the last healthy one carries everything", async () => {
    const { shares, health } = await tiered([false, false, false]);
    health(0, false);
    health(1, false);
    expect(await shares(6)).toEqual([0, 0, 6]);
  });

  test("with none healthy, all are tried", async () => {
    const { shares, health } = await tiered([false, false], { panicThreshold: "30%" });
    health(0, false);
    health(1, false);
    expect(await shares(6)).toEqual([3, 3]);
  });

  test("one that an operator has taken out is not used in panic either", async () => {
    const company = cast(3, ({ backend }) => ok(`${backend}`));
    const stage = await scene(company.scripts, {
      settings: ([a, b, c]) => ({
        listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
        upstreams: {
          web: {
            balance: "round-robin",
            panicThreshold: "100%",
            backends: [a!, { url: b!, state: "down" }, { url: c!, state: "drain" }],
          },
        },
      }),
    });
    stage.proxy.plane.setHealth(0, false, "said by the test");
    for (let i = 0; i < 4; i++) expect((await ask(stage, get())).body).toBe("0");
    expect(company.counts).toEqual([4, 0, 0]);
  });
});
