import { describe, expect, test } from "vitest";
import { Nearest } from "../balance/nearest.ts";
import { sampleRequest } from "../balance/samples.ts";
import type { PickRequest } from "../model/request.ts";
import type { Isolation } from "./isolation.ts";
import { failure, SampleExchange, sampleQueue, sampleRetry, sampleUpstream } from "./samples.ts";

const SEOUL = { latitude: 37.57, longitude: 126.98 };
const TOKYO = { latitude: 35.68, longitude: 139.69 };
const BERLIN = { latitude: 52.52, longitude: 13.4 };

/** Room for one exchange in each city, and balancers that would rather wait than go far. */
function cities(init: ConstructorParameters<typeof Nearest>[0], isolation: Isolation = { queue: sampleQueue }) {
  return sampleUpstream(
    {
      seoul: { limit: 1, position: SEOUL },
      tokyo: { limit: 1, position: TOKYO },
      berlin: { limit: 1, position: BERLIN },
    },
    isolation,
    { balancer: new Nearest(init) },
  );
}

function from(position: PickRequest["position"], { upstream }: Pick<ReturnType<typeof cities>, "upstream">, now = 0) {
  return SampleExchange.of(upstream, { ...sampleRequest(0), position }, now);
}

describe("a balancer that would rather have an exchange wait", () => {
  test("is given neither any other backend with room nor whichever has room first", () => {
    const scene = cities({ spillover: false });
    const inSeoul = from(SEOUL, scene);
    const inTokyo = from(TOKYO, scene);
    const waiting = from(SEOUL, scene, 1);
    expect([inSeoul.last, inTokyo.last, waiting.last]).toEqual(["try seoul", "try tokyo", "wait"]);
    inTokyo.succeeded(2);
    expect(waiting.last).toBe("wait");
    inSeoul.succeeded(3);
    expect(waiting.last).toBe("try seoul");
  });

  test("does not keep those waiting that find room near by", () => {
    const scene = cities({ spillover: false });
    from(SEOUL, scene);
    const waiting = from(SEOUL, scene, 1);
    expect([waiting.last, from(BERLIN, scene, 2).last]).toEqual(["wait", "try berlin"]);
  });

  test("is not overruled for what is too far", () => {
    const scene = cities({ maxKm: 2000 });
    from(SEOUL, scene);
    expect(from(SEOUL, scene, 1).last).toBe("try tokyo");
    const waiting = from(SEOUL, scene, 2);
    expect([waiting.last, scene.berlin.active]).toEqual(["wait", 0]);
    const inBerlin = from(BERLIN, scene, 3);
    inBerlin.succeeded(4);
    expect(waiting.last).toBe("wait");
  });

  test("answers 503 at once where nothing is near enough", () => {
    const scene = cities({ maxKm: 2000 });
    expect(from({ latitude: -33.87, longitude: 151.21 }, scene).last).toBe("answer 503 no-backend");
  });

  test("lets go elsewhere who was there in vain", () => {
    const scene = cities({ spillover: false }, { queue: sampleQueue, retry: sampleRetry });
    const exchange = from(SEOUL, scene);
    expect(exchange.ended(failure("connect"), "nothing", 1)).toBe("try tokyo");
  });
});

describe("after a failure", () => {
  const isolation = { queue: sampleQueue, retry: sampleRetry };

  test("who waits takes the place of the one that failed, and that one goes elsewhere", () => {
    const scene = cities({ spillover: false }, isolation);
    const failed = from(SEOUL, scene);
    const waiting = from(SEOUL, scene, 1);
    expect(failed.ended(failure("connect"), "nothing", 2)).toBe("try tokyo");
    expect(waiting.last).toBe("try seoul");
  });

  test("nobody waits, and no response is dropped, for a backend that is out of reach", () => {
    const scene = cities({ maxKm: 500 }, isolation);
    const failed = from(SEOUL, scene);
    expect(failed.ended(failure("connect"), "nothing", 1)).toBe("answer 502 connect");
    const refused = from(SEOUL, scene, 2);
    expect(refused.dispatch.wantsRetry(503, undefined, 3)).toBe(false);
    expect(refused.dispatch.perTryTimeoutMs).toBe(Number.POSITIVE_INFINITY);
  });
});

test("the overflow of the nearest goes to the next nearest, and only that", () => {
  const scene = cities({});
  const inSeoul = from(SEOUL, scene);
  expect([inSeoul.last, from(SEOUL, scene).last]).toEqual(["try seoul", "try tokyo"]);
  inSeoul.succeeded(1);
  expect(from(SEOUL, scene, 2).last).toBe("try seoul");
  expect(from(SEOUL, scene, 2).last).toBe("try berlin");
  expect(from(SEOUL, scene, 2).last).toBe("wait");
});

test("the clients of a full region, however many wait, keep nobody waiting who wants another", () => {
  const scene = cities({ spillover: false });
  const inSeoul = from(SEOUL, scene);
  const inTokyo = from(TOKYO, scene);
  const forSeoul = Array.from({ length: 40 }, () => from(SEOUL, scene, 1));
  const forTokyo = from(TOKYO, scene, 2);
  inTokyo.succeeded(3);
  expect(forTokyo.last).toBe("try tokyo");
  inSeoul.succeeded(4);
  expect(forSeoul.filter(({ last }) => last === "try seoul")).toHaveLength(1);
});

test("who waits for one of several that are near takes whichever has room first", () => {
  const near = { limit: 1, position: SEOUL };
  const scene = sampleUpstream(
    { one: near, two: near },
    { queue: sampleQueue },
    { balancer: new Nearest({ spillover: false }) },
  );
  const running = [from(SEOUL, scene), from(SEOUL, scene)];
  const waiting = [from(SEOUL, scene, 1), from(SEOUL, scene, 1)];
  running[0]!.succeeded(2);
  running[1]!.succeeded(3);
  expect(waiting.map(({ last }) => last).toSorted()).toEqual(["try one", "try two"]);
});
