// The day as blocks of characters, 98 columns wide.

import { buckets } from "./figures.mjs";
import { servers } from "./servers.mjs";
import { marks } from "./story.mjs";

const columns = 86;
const rows = 10;
const sparks = "▁▂▃▄▅▆▇█";

/** Escape codes of the colours of what is drawn. */
const colour = { served: 32, shed: 33, failed: 31, faint: 2 };

/**
 * @param {import("./figures.mjs").Day} day
 * @param {{ colours: boolean }} settings without colours shapes alone tell things apart
 * @returns {string}
 */
export function drawTerminal(day, { colours }) {
  const endMs = day.answers.atMs.at(-1) ?? 0;
  const bucketMs = endMs / columns;
  const all = buckets(day.answers, bucketMs, endMs);
  const paint = (/** @type {keyof typeof colour} */ name, /** @type {string} */ text) =>
    colours ? `\x1b[${colour[name]}m${text}\x1b[0m` : text;
  const line = (/** @type {string} */ label, /** @type {string} */ text) => `${label.padStart(10)} ${text}`;

  const most = Math.max(
    1,
    ...all.map(({ offered, served, shed, failed }) => Math.max(offered, served + shed + failed)),
  );
  const chart = Array.from({ length: rows }, (_, i) => {
    const level = ((rows - i - 0.5) * most) / rows;
    const cells = all.map(({ offered, served, shed, failed }) => {
      if (level < served) return paint("served", "█");
      if (level < served + shed) return paint("shed", "░");
      if (level < served + shed + failed) return paint("failed", "x");
      return level < offered ? paint("faint", "·") : " ";
    });
    return line(i === 0 ? `${most.toFixed(0)}/s` : "", cells.join("").trimEnd());
  });

  const latency = (/** @type {number | undefined} */ ms) => {
    if (ms === undefined) return " ";
    const share = Math.log(Math.max(10, ms) / 10) / Math.log(300); // 10 ms to 3 s
    return sparks[Math.min(sparks.length - 1, Math.floor(share * sparks.length))] ?? " ";
  };
  const strips = servers(day, bucketMs, columns).map(({ name, cells }) =>
    line(
      `server ${name}`,
      cells
        .map(({ state, load }) => {
          if (state === "lost") return paint("failed", "x");
          if (state === "out") return paint("shed", "o");
          return paint("served", load > 0 ? (sparks[Math.min(7, Math.floor(load * 8))] ?? "█") : " ");
        })
        .join(""),
    ),
  );
  return [
    line("", `${day.label} ${day.version}`),
    line("", markLine(day.minuteMs, bucketMs)),
    ...chart,
    line("", "█ served  ░ shed  x failed  · asked for, not settled in that moment"),
    line(
      "failed",
      all
        .map(({ failed }) => (failed > 0 ? paint("failed", "x") : " "))
        .join("")
        .trimEnd(),
    ),
    line("p50", all.map(({ p50 }) => latency(p50)).join("")),
    line("p99", `${all.map(({ p99 }) => latency(p99)).join("")}`),
    line("", "▁ 10 ms to █ 3 s (logarithmic) of what is served"),
    ...strips,
    line("", "▁ to █ share of what the server can do  x lost  o the proxy sends it nothing"),
  ].join("\n");
}

/** @param {number} minuteMs @param {number} bucketMs */
function markLine(minuteMs, bucketMs) {
  let text = "";
  for (const mark of marks(minuteMs)) {
    text = text.padEnd(Math.round(mark.ms / bucketMs));
    text += `▾${mark.text} `;
  }
  return text.slice(0, columns).trimEnd();
}
