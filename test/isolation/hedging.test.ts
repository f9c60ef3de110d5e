import { describe, expect, test } from "vitest";
import { ok } from "../support/raw-backend.ts";
import { get, post, READ_MODES, scene } from "../support/scene.ts";
import { eventually, pause } from "../support/wire.ts";
import { type Act, ask, cast, reply } from "./cast.ts";

/**
 * Enough responses for it to be known what is slow. It takes 20, and each 3 s what was observed loses half of its
 * weight: wherever among so many that moment falls, more than 20 are left.
 */
const WARM_UP = 60;

interface Options {
  readonly mode?: (typeof READ_MODES)[number];
  readonly upstream?: object;
  readonly backends?: number;
  /** Requests of before. */
  readonly warmUp?: number;
}

/** Backends that have been quick so far, and from now on do what `act` says; `nth` counts from here. */
async function warm(act: Act, { mode, upstream = {}, backends = 2, warmUp = WARM_UP }: Options = {}) {
  const company = cast(backends, () => ok("quick"));
  const stage = await scene(company.scripts, {
    ...(mode === undefined ? {} : { mode }),
    upstream: {
      balance: "round-robin",
      hedge: { quantile: "90%", minimumDelay: "40ms", budget: "100%" },
      ...upstream,
    },
  });
  const wire = await stage.client();
  for (let i = 0; i < warmUp; i++) {
    wire.write(get("/warm"));
    expect((await wire.response()).status).toBe(200);
  }
  const before = company.deliveries.length;
  company.act = (delivery) => act({ ...delivery, nth: delivery.nth - before });
  return { company, stage, since: () => company.deliveries.slice(before) };
}

describe.each(READ_MODES)("with reads by %s", (mode) => {
  test("a backend that is slow is hedged; the other answers, and the first is let go", async () => {
    const { stage, since } = await warm(({ nth, backend }) => (nth === 0 ? undefined : ok(`from ${backend}`)), {
      mode,
    });
    const wire = await stage.client();
    wire.write(get("/slow"));
    const response = await wire.response();
    const [first, second] = since();
    expect(first!.backend).not.toBe(second!.backend);
    expect(response).toMatchObject({ status: 200, body: `from ${second!.backend}` });
    expect(second!.request.start).toBe("GET /slow HTTP/1.1");
    await first!.wire.gone();
    await pause(30);
    expect(wire.pending).toBe("");
    wire.write(get("/next"));
    expect((await wire.response()).status).toBe(200);
    expect(since()).toHaveLength(3);
    await stage.quiet();
    const { upstreams } = stage.proxy.snapshot();
    expect(upstreams[0]).toMatchObject({ hedges: 1, hedgesWon: 1, retries: 0, failed: 0, active: 0 });
    expect(upstreams[0]!.backends.map(({ active, failures }) => [active, failures])).toEqual([
      [0, 0],
      [0, 0],
    ]);
  });

  test("the first may still win; the hedge is let go", async () => {
    const { stage, since } = await warm(
      async ({ nth }) => {
        if (nth > 0) return;
        await eventually(() => since().length === 2, "the hedge is sent");
        return ok("the first");
      },
      { mode },
    );
    const wire = await stage.client();
    wire.write(get("/slow"));
    expect((await wire.response()).body).toBe("the first");
    await since()[1]!.wire.gone();
    await pause(30);
    expect(wire.pending).toBe("");
    await stage.quiet();
    expect(stage.proxy.snapshot().upstreams[0]).toMatchObject({ hedges: 1, hedgesWon: 0, failed: 0 });
  });

  test("when both answer at the same moment the client gets one response, whole", async () => {
    const body = "x".repeat(20_000);
    const { stage, since } = await warm(
      async ({ nth, backend }) => {
        await (nth % 2 === 0 ? eventually(() => since().length % 2 === 0, "both are asked") : pause(3));
        return ok(`${backend}${body}`);
      },
      { mode },
    );
    const wire = await stage.client();
    for (let i = 0; i < 5; i++) {
      wire.write(get(`/${i}`));
      const response = await wire.response();
      expect(response.body).toMatch(/^[01]x+$/);
      expect(response.body).toHaveLength(body.length + 1);
      await stage.quiet();
      expect(wire.pending).toBe("");
    }
    expect(since()).toHaveLength(10);
    expect(stage.proxy.snapshot().upstreams[0]).toMatchObject({ hedges: 5, requests: WARM_UP + 5, failed: 0 });
  });
});

test("before it is known what is slow, nothing is hedged", async () => {
  const { stage, since } = await warm(
    async () => {
      await pause(150);
      return ok();
    },
    { warmUp: 18 },
  );
  expect((await ask(stage, get())).status).toBe(200);
  expect(since()).toHaveLength(1);
});

test("a POST is never hedged", async () => {
  const { stage, since } = await warm(async () => {
    await pause(200);
    return ok();
  });
  expect((await ask(stage, post("order"))).status).toBe(200);
  expect(since()).toHaveLength(1);
  expect(stage.proxy.snapshot().upstreams[0]!.hedges).toBe(0);
});

test("with one backend there is nobody to hedge with", async () => {
  const { stage, since } = await warm(
    async () => {
      await pause(150);
      return ok();
    },
    { backends: 1 },
  );
  expect((await ask(stage, get())).status).toBe(200);
  expect(since()).toHaveLength(1);
});

test("there are never more than two at a time, and no more hedges than the budget", async () => {
  const { stage, since } = await warm(
    async () => {
      await pause(150);
      return ok();
    },
    { backends: 3, upstream: { hedge: { quantile: "90%", minimumDelay: "40ms", budget: "4%" } } },
  );
  // 60 requests have saved up 2.4 hedges, the four that follow do not complete a third.
  for (let i = 0; i < 4; i++) expect((await ask(stage, get())).status).toBe(200);
  expect(since()).toHaveLength(6);
  expect(stage.proxy.snapshot().upstreams[0]!.hedges).toBe(2);
});

// A reset on a connection that was used before is taken for the idle race first: it is asked again on a fresh one.

test("when the first breaks while its hedge runs, the hedge answers", async () => {
  const { stage, since } = await warm(async ({ backend, wire }) => {
    if (backend === since()[0]!.backend) {
      await eventually(() => new Set(since().map((each) => each.backend)).size === 2, "the hedge is sent");
      return wire.reset();
    }
    await pause(150);
    return ok("the hedge");
  });
  expect((await ask(stage, get())).body).toBe("the hedge");
  await stage.quiet();
  expect(since().filter(({ backend }) => backend !== since()[0]!.backend)).toHaveLength(1);
  expect(stage.proxy.snapshot().upstreams[0]).toMatchObject({ failed: 0, active: 0, hedges: 1, retries: 0 });
});

test("when the hedge breaks, the first answers", async () => {
  const { stage } = await warm(async ({ nth, wire }) => {
    if (nth > 0) return wire.reset();
    await pause(250);
    return ok("the first");
  });
  expect((await ask(stage, get())).body).toBe("the first");
  await stage.quiet();
  expect(stage.proxy.snapshot().upstreams[0]).toMatchObject({ failed: 0, active: 0, hedges: 1, hedgesWon: 0 });
});

test("when both break, the exchange fails once", async () => {
  const { stage, since } = await warm(async ({ nth, wire }) => {
    if (nth === 0) await eventually(() => since().length > 1, "the hedge is sent");
    else await pause(60);
    wire.reset();
  });
  const wire = await stage.client();
  wire.write(get());
  expect((await wire.response()).status).toBe(502);
  await stage.quiet();
  expect(wire.pending).toBe("");
  expect(stage.proxy.snapshot().upstreams[0]).toMatchObject({ failed: 1, active: 0 });
});

test("a hedge that is refused (503) does not beat a first attempt that is still at work", async () => {
  const { stage } = await warm(async ({ nth }) => {
    if (nth > 0) return reply(503);
    await pause(250);
    return ok("the first");
  });
  expect(await ask(stage, get())).toMatchObject({ status: 200, body: "the first" });
});

test("a first attempt that is refused (503) leaves the answer to its hedge", async () => {
  const { stage, since } = await warm(async ({ nth }) => {
    if (nth > 0) {
      await pause(150);
      return ok("the hedge");
    }
    await eventually(() => since().length === 2, "the hedge is sent");
    return reply(503);
  });
  expect(await ask(stage, get())).toMatchObject({ status: 200, body: "the hedge" });
});

test("a client that leaves takes both attempts with it", async () => {
  const { stage, since } = await warm(() => undefined);
  const wire = await stage.client();
  wire.write(get());
  await eventually(() => since().length === 2, "the hedge is sent");
  wire.reset();
  for (const each of since()) await each.wire.gone();
  await stage.quiet();
});
