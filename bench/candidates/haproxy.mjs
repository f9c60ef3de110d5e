// HAProxy with one thread and every idle backend connection open to every request.

import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { answers, freePorts, installed, Missing, start } from "../lib/processes.mjs";

/** @type {import("./candidate.mjs").StartCandidates} */
export async function startHaproxy(context) {
  if (!installed("haproxy")) throw new Missing("haproxy is not installed");
  const [port = 0] = await freePorts(1);
  const file = `${context.dir}/haproxy.cfg`;
  writeFileSync(file, configuration(context, port));
  const running = start("haproxy", ["-db", "-q", "-f", file], { cpus: context.cpus });
  context.started?.(running);
  await answers(port, running);
  const version = /version (\S+?)[-\s]/.exec(spawnSync("haproxy", ["-v"], { encoding: "utf8" }).stdout)?.[1] ?? "?";
  return [{ id: "haproxy", label: "HAProxy", version, port, pid: running.pid }];
}

/** @param {import("./candidate.mjs").Context} context @param {number} port */
function configuration(context, port) {
  // maxconn counts clients; HAProxy would want files for twice as many, which this load never opens: no strict-limits.
  return `global
  nbthread 1
  maxconn ${Math.min(24_000, context.fileLimit - 2000)}
  no strict-limits
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout http-keep-alive 60s
  http-reuse always
  option forwardfor
  unique-id-format %[uuid()]
  unique-id-header X-Request-Id
frontend entry
  bind 127.0.0.1:${port} backlog 4096
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header Via "1.1 haproxy"
  default_backend web
backend web
  balance roundrobin
${context.backendPorts.map((backend, i) => `  server s${i} 127.0.0.1:${backend}`).join("\n")}
`;
}
