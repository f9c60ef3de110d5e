// The day as a picture: an SVG without scripts, readable on light and on dark.

import { buckets } from "./figures.mjs";
import { servers } from "./servers.mjs";
import { at, capacityOf, clock, marks, phases } from "./story.mjs";

const width = 1000;
const left = 70;
const right = 20;
const plot = width - left - right;
const bottom = 655;

const style = `
text { font: 13px system-ui, sans-serif; fill: #444c56 }
.title { font-size: 18px; font-weight: 600 }
.axis, .mark { stroke: #8b949e; stroke-width: 1; fill: none }
.grid { stroke: #8b949e; stroke-opacity: .25 }
.mark { stroke-dasharray: 3 3 }
.served { fill: #2da44e } .shed { fill: #d4a72c } .failed, .lost { fill: #cf222e } .out { fill: #d4a72c }
.offered, .capacity, .p50, .p99, .shedP99 { fill: none; stroke-width: 1.5 }
.offered { stroke: #57606a } .capacity { stroke: #57606a; stroke-dasharray: 6 4 }
.p50 { stroke: #2da44e } .p99 { stroke: #0969da; stroke-width: 2 } .shedP99 { stroke: #d4a72c }
@media (prefers-color-scheme: dark) {
text { fill: #adbac7 } .offered, .capacity { stroke: #adbac7 } .p99 { stroke: #58a6ff }
}`;

/** @param {import("./figures.mjs").Day} day @returns {string} */
export function drawSvg(day) {
  const { minuteMs } = day;
  const endMs = at(phases.at(-1)?.to ?? 0, minuteMs);
  // Ten seconds of the story, a second of a compressed run.
  const bucketMs = minuteMs / 6;
  const all = buckets(day.answers, bucketMs, endMs);
  const x = (/** @type {number} */ ms) => left + (ms / endMs) * plot;
  const parts = [
    `<text class="title" x="${left}" y="26">${escapeXml(day.label)} on the sale day</text>`,
    legend(400, 26, [
      ["served", "served"],
      ["shed", "shed"],
      ["failed", "failed"],
    ]),
    `<path class="offered" d="M650 22h22"/><text x="678" y="26">offered</text>`,
    `<path class="capacity" d="M752 22h22"/><text x="780" y="26">what the servers can do</text>`,
    ...requests(all, x, bucketMs, minuteMs),
    ...latencies(all, x, bucketMs),
    ...strips(day, x, bucketMs, all.length),
    ...marks(minuteMs).flatMap(({ ms, text }) => [
      `<path class="mark" d="M${n(x(ms))} 62V330M${n(x(ms))} 360V535M${n(x(ms))} 553V630"/>`,
      `<text x="${n(x(ms) + 3)}" y="58">${escapeXml(text)}</text>`,
    ]),
    ...Array.from({ length: 12 }, (_, minute) => {
      const position = x(at(minute, minuteMs));
      return `<path class="axis" d="M${n(position)} ${bottom}v5"/><text x="${n(position)}" y="${bottom + 19}" text-anchor="middle">${clock(minute)}</text>`;
    }),
    `<path class="axis" d="M${left} ${bottom}H${width - right}"/>`,
    `<text x="${left}" y="${bottom + 37}">minutes of the story; each takes ${minuteMs / 1000} s</text>`,
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} 700" role="img" aria-label="${escapeXml(day.label)}: requests, latency and servers over the sale day"><style>${style}</style>\n${parts.join("\n")}\n</svg>\n`;
}

/** What became of the requests, one above the other. @param {readonly import("./figures.mjs").Bucket[]} all @param {(ms: number) => number} x @param {number} bucketMs @param {number} minuteMs */
function requests(all, x, bucketMs, minuteMs) {
  const [top, base] = [75, 330];
  const most = Math.max(1, ...all.map((b) => Math.max(b.offered, b.served + b.shed + b.failed))) * 1.05;
  const y = (/** @type {number} */ perSecond) => base - (perSecond / most) * (base - top);
  const area = (
    /** @type {string} */ kind,
    /** @type {(b: import("./figures.mjs").Bucket) => [number, number]} */ range,
  ) => {
    const bars = all.map((bucket) => {
      const [from, to] = range(bucket);
      return from === to
        ? ""
        : `M${n(x(bucket.ms))} ${n(y(from))}V${n(y(to))}H${n(x(bucket.ms + bucketMs))}V${n(y(from))}Z`;
    });
    return `<path class="${kind}" d="${bars.join("")}"/>`;
  };
  const offered = all
    .map((b, i) => `${i === 0 ? "M" : "L"}${n(x(b.ms))} ${n(y(b.offered))}H${n(x(b.ms + bucketMs))}`)
    .join("");
  const can = `M${left} ${n(y(capacityOf(4)))}H${n(x(at(5, minuteMs)))}V${n(y(capacityOf(3)))}H${n(x(at(8, minuteMs)))}V${n(y(capacityOf(4)))}H${width - right}`;
  const step = most > 1500 ? 500 : 200;
  return [
    ...Array.from({ length: Math.floor(most / step) + 1 }, (_, i) => grid(y(i * step), `${i * step}/s`)),
    area("served", (b) => [0, b.served]),
    area("shed", (b) => [b.served, b.served + b.shed]),
    area("failed", (b) => [b.served + b.shed, b.served + b.shed + b.failed]),
    `<path class="capacity" d="${can}"/><path class="offered" d="${offered}"/>`,
  ];
}

/** On a logarithmic scale, 10 ms to 3 s. @param {readonly import("./figures.mjs").Bucket[]} all @param {(ms: number) => number} x @param {number} bucketMs */
function latencies(all, x, bucketMs) {
  const [top, base] = [365, 530];
  const y = (/** @type {number} */ ms) =>
    base - (Math.log(Math.min(3000, Math.max(10, ms)) / 10) / Math.log(300)) * (base - top);
  const curve = (/** @type {"p50" | "p99" | "shedP99"} */ name) => {
    let pen = "M";
    const points = all.map((bucket) => {
      const value = bucket[name];
      if (value === undefined) {
        pen = "M";
        return "";
      }
      const point = `${pen}${n(x(bucket.ms + bucketMs / 2))} ${n(y(value))}`;
      pen = "L";
      return point;
    });
    return `<path class="${name}" d="${points.join("")}"/>`;
  };
  return [
    ...[10, 30, 100, 300, 1000, 3000].map((ms) => grid(y(ms), ms < 1000 ? `${ms} ms` : `${ms / 1000} s`)),
    curve("shedP99"),
    curve("p50"),
    curve("p99"),
    `<path class="p50" d="M${left + 8} 346h22"/><text x="${left + 36}" y="350">p50</text>`,
    `<path class="p99" d="M${left + 74} 346h22"/><text x="${left + 102}" y="350">p99 of what is served</text>`,
    `<path class="shedP99" d="M${left + 246} 346h22"/><text x="${left + 274}" y="350">p99 until a refusal</text>`,
  ];
}

/** The fuller the colour, the more a server does. @param {import("./figures.mjs").Day} day @param {(ms: number) => number} x @param {number} bucketMs @param {number} count */
function strips(day, x, bucketMs, count) {
  const rows = servers(day, bucketMs, count).flatMap(({ name, cells }, row) => {
    const y = 556 + row * 19;
    return [
      `<text x="${left - 8}" y="${y + 12}" text-anchor="end">server ${name}</text>`,
      ...cells.map(({ state, load }, i) => {
        const shade = state === "in" ? ` fill-opacity="${(0.1 + 0.9 * Math.min(1, load)).toFixed(2)}"` : "";
        const from = x(i * bucketMs);
        return `<rect class="${state === "in" ? "served" : state}" x="${n(from)}" y="${y}" width="${n(x((i + 1) * bucketMs) - from + 0.2)}" height="15"${shade}/>`;
      }),
    ];
  });
  return [
    ...rows,
    legend(left + 8, 646, [
      ["served", "working (the fuller, the more)"],
      ["lost", "lost"],
      ["out", "there, but the proxy sends it nothing"],
    ]),
  ];
}

/** @param {number} x @param {number} y @param {readonly (readonly [string, string])[]} entries */
function legend(x, y, entries) {
  let from = x;
  return entries
    .map(([kind, text]) => {
      const entry = `<rect class="${kind}" x="${from}" y="${y - 10}" width="22" height="10"/><text x="${from + 28}" y="${y}">${text}</text>`;
      from += 46 + text.length * 7;
      return entry;
    })
    .join("");
}

/** @param {number} y @param {string} label */
function grid(y, label) {
  return `<path class="grid" d="M${left} ${n(y)}H${width - right}"/><text x="${left - 8}" y="${n(y + 4)}" text-anchor="end">${label}</text>`;
}

/** @param {number} value */
function n(value) {
  return Number(value.toFixed(1));
}

/** @param {string} text */
function escapeXml(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
