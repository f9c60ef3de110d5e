// All candidates, nginx first: the others are compared with it.

import { startHaproxy } from "./haproxy.mjs";
import { startNginx } from "./nginx.mjs";
import { startFastProxy, startHttpProxy3 } from "./node-proxies.mjs";
import { startSpillway, startSpillwayOnNewest, startSpillwayWithEverything } from "./spillway.mjs";

/** @type {Record<string, import("./candidate.mjs").StartCandidates>} */
export const candidates = {
  nginx: startNginx,
  haproxy: startHaproxy,
  "http-proxy-3": startHttpProxy3,
  "fast-proxy": startFastProxy,
  spillway: startSpillway,
  "spillway-newest": startSpillwayOnNewest,
  "spillway-everything": startSpillwayWithEverything,
};
