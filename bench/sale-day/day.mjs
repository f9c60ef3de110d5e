// One proxy's sale day.

import { setTimeout as sleep } from "node:timers/promises";
import { lastingPorts, nobodyListens, ownDirectory } from "../lib/processes.mjs";
import { names } from "../shop/proxies.mjs";
import { coresOf, Load, Server, watch } from "../shop/shop.mjs";
import { at, loss, normalPerSecond, phases, segments } from "./story.mjs";

/** Code that was never run is slow in every language but C; nobody's sale day begins with a proxy just started. */
const warmUp = { ms: 2000, perSecond: 400 };
/** As usual in a shop: one of ten visitors buys. */
const postShare = 0.1;

/**
 * @param {import("../shop/proxies.mjs").Candidate} candidate
 * @param {{ minuteMs: number, cpus: { proxy: readonly number[], load: readonly number[] }, fileLimit: number,
 *   say: (text: string) => void }} settings
 * @returns {Promise<import("./figures.mjs").Day>}
 */
export async function saleDay(candidate, { minuteMs, cpus, fileLimit, say }) {
  const dir = ownDirectory();
  const [port = 0, adminPort = 0, ...backendPorts] = await lastingPorts(2 + names.length);
  const servers = backendPorts.map((backendPort, i) => new Server(i, backendPort, cpus.load));
  const stops = /** @type {(() => Promise<void>)[]} */ ([]);
  try {
    for (const server of servers) {
      stops.push(() => server.stop());
      await server.start();
    }
    const proxy = await candidate.start({
      port,
      adminPort,
      backendPorts,
      dir,
      cpus: cpus.proxy,
      fileLimit,
      pace: minuteMs / 60_000,
    });
    stops.unshift(() => proxy.running.stop());
    const load = (/** @type {number} */ seed, /** @type {import("../shop/arrivals.mjs").Segment[]} */ parts) => {
      const customers = new Load(
        { port, segments: parts, seed, postShare, plainShed: candidate.plainShed },
        { dir, cpus: cpus.load },
      );
      stops.unshift(() => customers.stop());
      return customers;
    };
    const first = load(1, [warmUp]);
    await first.ready();
    await first.run(Date.now());

    const customers = load(2, segments(minuteMs));
    await customers.ready();
    const beginAt = Date.now() + 200;
    const proxyCores = coresOf(proxy.running.pid);
    const loadCores = coresOf(customers.pid);
    const watching = watch(servers, proxy, beginAt);
    const now = () => Date.now() - beginAt;
    const until = (/** @type {number} */ minute) => sleep(Math.max(0, at(minute, minuteMs) - now()));
    const answered = customers.run(beginAt, (counts) => say(progress(now(), minuteMs, counts)));

    const lost = servers[loss.server];
    const events = (async () => {
      await until(loss.at);
      const killedMs = now();
      await lost?.kill();
      await until(loss.back);
      const restartedMs = now();
      await lost?.start();
      return { killedMs, restartedMs, backMs: now() };
    })();
    const [answers, times] = await Promise.all([answered, events]);
    const sights = await watching.stop();
    const cores = { proxyCores: proxyCores(), loadCores: loadCores() };
    const { id, label } = candidate;
    return { id, label, version: proxy.version, minuteMs, answers, sights, ...times, ...cores };
  } finally {
    await Promise.all(stops.map((stop) => stop()));
    await nobodyListens([port, adminPort, ...backendPorts]);
  }
}

/** @param {number} ms @param {number} minuteMs @param {readonly number[]} counts */
function progress(ms, minuteMs, [, served = 0, shed = 0, failed = 0]) {
  const phase = phases.findLast(({ from }) => at(from, minuteMs) <= ms) ?? phases[0];
  const perSecond = (phase?.times ?? 1) * normalPerSecond;
  return `${(ms / 1000).toFixed(0).padStart(3)} s  ${(phase?.name ?? "").padEnd(12)} ${String(perSecond).padStart(4)}/s  served ${served}, shed ${shed}, failed ${failed}`;
}
