import { expect, test } from "vitest";
import { Press, tally } from "./clients.ts";
import { startServers } from "./server-process.ts";
import { runWhole } from "./whole.ts";

test("10,000 requests of 8 clients over weights 4:2:1 reach the servers 5714, 2857 and 1429 times", async () => {
  const servers = await startServers(["a", "b", "c"]);
  const weights = [4, 2, 1];
  const backends = servers.map(({ url }, index) => ({ url, weight: weights[index]! }));
  const { port, metric } = await runWhole({ upstream: { backends } });
  const startedMs = performance.now();
  const answers = await new Press(port, 8, "/", 10_000).whole();
  const seconds = (performance.now() - startedMs) / 1000;

  expect(tally(answers, ({ status }) => status)).toEqual({ 200: 10_000 });
  const figures = await Promise.all(servers.map((server) => server.figures()));
  const requests = figures.map((each) => each.requests);
  console.log(`${requests.join(" / ")} in ${seconds.toFixed(1)} s`);
  expect(requests).toEqual([5714, 2857, 1429]);
  expect(tally(answers, ({ server }) => server)).toEqual({ a: 5714, b: 2857, c: 1429 });
  expect(await metric("spillway_requests_total")).toBe(10_000);
});
