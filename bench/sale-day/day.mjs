// One proxy's sale day.

import { setTimeout as sleep } from "node:timers/promises";
import { coresOf, watch, withShop } from "../shop/shop.mjs";
import { at, loss, normalPerSecond, phases, segments } from "./story.mjs";

/**
 * @param {import("../shop/proxies.mjs").Candidate} candidate
 * @param {{ minuteMs: number, cpus: { proxy: readonly number[], load: readonly number[] }, fileLimit: number,
 *   warmUpMs: number, say: (text: string) => void }} settings
 * @returns {Promise<import("./figures.mjs").Day>}
 */
export async function saleDay(candidate, { minuteMs, cpus, fileLimit, warmUpMs, say }) {
  return await withShop(
    candidate,
    { cpus, fileLimit, warmUpMs, pace: minuteMs / 60_000, flapMs: 0 },
    async ({ servers, proxy, customers }) => {
      const load = await customers(segments(minuteMs));
      const beginAt = Date.now() + 200;
      const now = () => Date.now() - beginAt;
      const until = (/** @type {number} */ minute) => sleep(Math.max(0, at(minute, minuteMs) - now()));
      const proxyCores = coresOf(proxy.running.pid);
      const watching = watch(servers, proxy, beginAt);

      const lost = servers[loss.server];
      const loseOne = async () => {
        await until(loss.at);
        const killedMs = now();
        await lost?.kill();
        await until(loss.back);
        const restartedMs = now();
        await lost?.start();
        return { killedMs, restartedMs, backMs: now() };
      };
      const [answers, times] = await Promise.all([
        load.run(beginAt, (counts) => say(progress(now(), minuteMs, counts))),
        loseOne(),
      ]);
      const { id, label } = candidate;
      const sights = await watching.stop();
      return { id, label, version: proxy.version, minuteMs, answers, sights, ...times, proxyCores: proxyCores() };
    },
  );
}

/** @param {number} ms @param {number} minuteMs @param {readonly number[]} counts */
function progress(ms, minuteMs, [, served = 0, shed = 0, failed = 0]) {
  const phase = phases.findLast(({ from }) => at(from, minuteMs) <= ms) ?? phases[0];
  const perSecond = (phase?.times ?? 1) * normalPerSecond;
  const name = (phase?.name ?? "").padEnd(6);
  return `${(ms / 1000).toFixed(0).padStart(3)} s  ${name} ${String(perSecond).padStart(4)}/s  served ${served}, shed ${shed}, failed ${failed}`;
}
