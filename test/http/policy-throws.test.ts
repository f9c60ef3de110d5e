import { expect, test, vi } from "vitest";
import { answering, ok } from "../support/raw-backend.ts";
import { get, post, scene } from "../support/scene.ts";

vi.mock(import("../../src/policy/balance/index.ts"), async (original) => {
  const room = await original();
  return {
    ...room,
    createBalancer: ((...args: Parameters<typeof room.createBalancer>) => {
      const balancer = room.createBalancer(...args);
      return {
        update: (...members: Parameters<typeof balancer.update>) => balancer.update(...members),
        pick: (...asked: Parameters<typeof balancer.pick>) => {
          if (asked[0].target.startsWith("/throw")) throw new Error("broken policy");
          return balancer.pick(...asked);
        },
        settled: () => {
          throw new Error("broken feedback");
        },
      };
    }) as typeof room.createBalancer,
  };
});

test("a balancer that throws fails its exchange with 500, and nothing else", async () => {
  const { client, proxy, quiet } = await scene(answering(ok("fine")));
  const wire = await client();
  for (const request of [get("/throw"), post("body", "/throw"), get("/throw")]) {
    wire.write(request);
    const response = await wire.response();
    expect(response.status).toBe(500);
    expect(response.body).not.toContain("broken");
    expect(response.value("connection")).toBeUndefined();
  }
  // Feedback that throws comes too late to harm the exchange it is about.
  wire.write(get("/good"));
  expect((await wire.response()).body).toBe("fine");
  wire.write(get("/good"));
  expect((await wire.response()).body).toBe("fine");
  await quiet();
  expect(proxy.logs.filter(({ code }) => code === "policy-threw").length).toBe(5);
  expect(proxy.snapshot().upstreams[0]).toMatchObject({ requests: 5, failed: 3, active: 0 });
  expect(proxy.snapshot().upstreams[0]!.backends[0]!.active).toBe(0);
});

test("a large upload whose policy throws is answered and closed", async () => {
  const { client, quiet } = await scene(answering(ok()));
  const wire = await client();
  wire.write(`POST /throw HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n${"x".repeat(100_000)}`);
  const response = await wire.response();
  expect([response.status, response.value("connection")]).toEqual([500, "close"]);
  await wire.gone();
  await quiet();
});
