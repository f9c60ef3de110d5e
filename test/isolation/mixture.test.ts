import { expect, test } from "vitest";
import { SeededRandom } from "../../src/policy/model/random.ts";
import { ok } from "../support/raw-backend.ts";
import { get, post, READ_MODES, scene } from "../support/scene.ts";
import { pause, WireEnd } from "../support/wire.ts";
import { type Act, cast, reply } from "./cast.ts";

const CLIENTS = 24;
const REQUESTS = 20;

/** A backend that is sick in every way by turns, and echoes the request line when it is well. */
function sick(random: SeededRandom): Act {
  return async ({ request, wire, backend }) => {
    const luck = random.next() + (backend === 0 ? 0 : 0.15);
    if (luck < 0.06) return wire.reset();
    if (luck < 0.1) return wire.end();
    if (luck < 0.15) return reply(503, "busy", luck < 0.12 ? ["Retry-After: 0"] : []);
    if (luck < 0.2) return reply(500, "broken");
    if (luck < 0.23) return "no HTTP\r\n\r\n";
    if (luck < 0.26) return; // and never answers
    if (luck < 0.28) {
      wire.write(`HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n${request.start}`);
      await pause(2);
      return wire.reset();
    }
    await pause(luck < 0.35 ? 60 : 1);
    return ok(`${request.start}|${request.body}`);
  };
}

/** With all features on, and backends that fail in all ways: what has to hold whatever happens. */
test.each(READ_MODES)(
  "with everything on, every client gets one response to each request, its own (%s)",
  async (mode) => {
    const random = new SeededRandom(41);
    const company = cast(4, sick(random));
    const stage = await scene(company.scripts, {
      mode,
      listener: {
        routes: [
          { match: { path: "/high/*" }, priority: "high", timeout: "2s", upstream: "web" },
          { timeout: "2s", upstream: "web", rateLimit: { key: "header:x-greedy", rate: 1, per: "1m" } },
        ],
      },
      upstream: {
        circuitBreaker: {
          consecutiveFailures: 4,
          openFor: "60ms",
          fallback: { respond: { status: 503, body: "spare" } },
        },
        outlierDetection: {
          consecutiveFailures: 3,
          interval: "200ms",
          ejectFor: "50ms",
          maxEjected: "50%",
          latency: {},
        },
        retry: { attempts: 3, perTryTimeout: "150ms" },
        pool: { maxConnections: 4, queue: { max: 12, timeout: "300ms", target: "50ms" } },
        concurrencyLimit: { initial: 12, min: 4 },
        panicThreshold: "30%",
        hedge: { quantile: "90%", minimumDelay: "20ms", budget: "20%" },
        throttle: {},
        timeouts: { response: "300ms", idle: "300ms" },
      },
    });
    const statuses = new Map<number, number>();
    const run = async (n: number) => {
      let wire = await stage.client();
      for (let i = 0; i < REQUESTS; i++) {
        const kind = (n + i) % 3;
        const path = `/${n % 4 === 0 ? "high/" : ""}${n}/${i}`;
        const fields = n % 8 === 1 ? ["X-Greedy: yes"] : [];
        const [method, request] = [
          ["GET", get(path, fields)],
          ["POST", post(`order ${n}/${i}`, path, fields)],
          ["PUT", post(`thing ${n}/${i} ${"x".repeat(3_000)}`, path, fields).replace("POST", "PUT")],
        ][kind] as [string, string];
        wire.write(request);
        try {
          const response = await wire.response(method);
          statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1);
          if (response.status === 200) {
            expect(response.body.startsWith(`${method} ${path} HTTP/1.1|`)).toBe(true);
            expect(response.body.slice(response.body.indexOf("|") + 1)).toBe(
              request.slice(request.indexOf("\r\n\r\n") + 4),
            );
          } else {
            expect([429, 500, 502, 503, 504]).toContain(response.status);
          }
          expect(wire.pending).toBe("");
        } catch (error) {
          // A response that broke off: the connection has to show it.
          if (!(error instanceof WireEnd)) throw error;
          statuses.set(0, (statuses.get(0) ?? 0) + 1);
          wire.destroy();
          wire = await stage.client();
        }
      }
    };
    await Promise.all(Array.from({ length: CLIENTS }, (_, n) => run(n)));
    await stage.quiet();

    const delivered = new Map<string, number>();
    for (const { request } of company.deliveries) {
      if (!request.start.startsWith("POST")) continue;
      delivered.set(request.start, (delivered.get(request.start) ?? 0) + 1);
    }
    expect([...delivered].filter(([, times]) => times > 1)).toEqual([]);

    const { upstreams, shed, own } = stage.proxy.snapshot();
    const [web] = upstreams;
    expect(web).toMatchObject({ requests: CLIENTS * REQUESTS, active: 0, waiting: 0, unanswered: 0 });
    expect(own.requests).toBe(0);
    expect([...statuses.values()].reduce((sum, count) => sum + count)).toBe(CLIENTS * REQUESTS);
    for (const { active, requests, ended } of web!.backends) expect([active, ended]).toEqual([0, requests]);
    // It was a mixture indeed.
    expect(web!.retries).toBeGreaterThan(0);
    expect(statuses.get(200)).toBeGreaterThan((CLIENTS * REQUESTS) / 10);
    expect(shed.rate).toBeGreaterThan(0);
  },
);
