import { expect, test } from "vitest";
import { startBackends } from "./backend-process.ts";
import { Press, tally } from "./clients.ts";
import { runWhole } from "./whole.ts";

test("10,000 requests of 8 clients over weights 4:2:1 reach the backends 5714, 2857 and 1429 times", async () => {
  const backends = await startBackends(["a", "b", "c"]);
  const weights = [4, 2, 1];
  const { port, metric } = await runWhole({
    upstream: { backends: backends.map(({ url }, index) => ({ url, weight: weights[index]! })) },
  });
  const startedMs = performance.now();
  const answers = await new Press(port, 8, "/", 10_000).whole();
  const seconds = (performance.now() - startedMs) / 1000;

  expect(tally(answers, ({ status }) => status)).toEqual({ 200: 10_000 });
  const figures = await Promise.all(backends.map((backend) => backend.figures()));
  const requests = figures.map((each) => each.requests);
  console.log(`${requests.join(" / ")} in ${seconds.toFixed(1)} s`);
  expect(requests).toEqual([5714, 2857, 1429]);
  expect(tally(answers, ({ backend }) => backend)).toEqual({ a: 5714, b: 2857, c: 1429 });
  expect(await metric("spillway_requests_total")).toBe(10_000);
});
