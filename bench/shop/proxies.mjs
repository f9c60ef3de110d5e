// The proxies in front of the shop, each set up as its manual advises for servers that can be overrun and can die:
//
// - never more than `perBackend` requests in a server, and the rest told at once, or after `targetMs`, that it is too much;
// - five failures in a row take a server out, connections and safe requests are tried again elsewhere;
// - times that belong to the story (checks, how long a server is left alone) shrink with it, times that belong to a
//   request do not.

import { spawnSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { connect } from "node:net";
import { userInfo } from "node:os";
import { projectDir, spillwayVersion } from "../lib/machine.mjs";
import { installed, listens, Missing, start } from "../lib/processes.mjs";
import { concurrency } from "./service.mjs";

/** A little above what a server works on at a time, so that it never waits for the proxy. */
export const perBackend = concurrency + 2;
/** How long an exchange may wait for room when that is the rule and not the exception. */
export const targetMs = 20;
/** A customer is gone after this, and so is the proxy's interest in an answer. */
export const patienceMs = 2000;

/**
 * @typedef {object} Setting
 * @property {number} port
 * @property {number} adminPort
 * @property {readonly number[]} backendPorts
 * @property {string} dir
 * @property {readonly number[]} cpus
 * @property {number} fileLimit
 * @property {number} pace the story's milliseconds are multiplied by this
 */

/** What the proxy says of one server.
 * @typedef {{ state: string, attempts: number }} Seen */

/**
 * @typedef {object} Proxy
 * @property {string} version
 * @property {import("../lib/processes.mjs").Running} running
 * @property {() => Promise<Seen[] | undefined>} look in the order of the backends; undefined: it does not say now
 */

/**
 * @typedef {object} Candidate
 * @property {string} id
 * @property {string} label
 * @property {boolean} plainShed see `classify`
 * @property {(setting: Setting) => Promise<Proxy>} start throws Missing when it is not installed
 */

/** Names of the servers. */
export const names = ["a", "b", "c", "d"];

/** @type {readonly Candidate[]} */
export const candidates = [
  { id: "spillway", label: "Spillway", plainShed: false, start: (s) => startSpillway(s, { isolation: true }) },
  {
    id: "spillway-off",
    label: "Spillway, isolation off",
    plainShed: false,
    start: (s) => startSpillway(s, { isolation: false, wide: true }),
  },
  { id: "nginx", label: "nginx", plainShed: true, start: startNginx },
  { id: "haproxy", label: "HAProxy", plainShed: true, start: startHaproxy },
];

/** A duration of the story, as long as it is here. @param {number} ms @param {Setting} setting @param {number} [leastMs] */
function paced(ms, { pace }, leastMs = 100) {
  return Math.max(leastMs, Math.round(ms * pace));
}

/**
 * The built command line with a configuration file.
 * @param {Setting} setting
 * @param {{ isolation: boolean, hedge?: boolean, wide?: boolean }} variant `wide`: no bound keeps a server from being overrun
 * @returns {Promise<Proxy>}
 */
export async function startSpillway(setting, variant) {
  const command = `${projectDir}dist/cli/main.js`;
  if (!existsSync(command)) throw new Missing("dist/cli/main.js is missing (npm run build)");
  const file = `${setting.dir}/spillway-${setting.port}.json`;
  writeFileSync(file, JSON.stringify(spillwayConfiguration(setting, variant), null, 2));
  const running = start(process.execPath, [command, "run", file], { cpus: setting.cpus, cwd: setting.dir });
  await listens(setting.port, running);
  const look = async () => {
    const status = await statusDocument(setting.adminPort);
    return status?.upstreams[0]?.backends.map(({ state, requests }) => ({ state, attempts: requests }));
  };
  return { version: spillwayVersion(), running, look };
}

/** @param {Setting} setting @param {{ isolation: boolean, hedge?: boolean, wide?: boolean }} variant */
export function spillwayConfiguration(setting, { isolation, hedge = false, wide = false }) {
  const ms = (/** @type {number} */ story) => `${paced(story, setting)}ms`;
  const on = {
    circuitBreaker: { consecutiveFailures: 5, errorThreshold: "50%", openFor: ms(5000), maxOpenFor: ms(60_000) },
    outlierDetection: {
      interval: ms(10_000),
      ejectFor: ms(30_000),
      maxEjected: "25%",
      failureShare: { threshold: "20%", minimumBackends: 3, minimumRequests: 20 },
      latency: { factor: 3, minimumBackends: 3, minimumRequests: 5 },
    },
    // All that a lost server was working on may be sent again at once.
    retry: { attempts: 3, perTryTimeout: "500ms", minimumBudget: perBackend },
    slowStart: { window: `${paced(30_000, setting, 2000)}ms` },
  };
  const off = { circuitBreaker: false, outlierDetection: false, retry: false };
  return {
    workers: 1,
    admin: { listen: `127.0.0.1:${setting.adminPort}` },
    log: { level: "warn", access: { format: "off" } },
    listeners: [
      {
        listen: `127.0.0.1:${setting.port}`,
        limits: { connections: 20_000 },
        routes: [
          { match: { path: "/checkout/*" }, upstream: "shop", ...(wide ? {} : { priority: "high" }) },
          { upstream: "shop" },
        ],
      },
    ],
    upstreams: {
      shop: {
        balance: "least-connections",
        backends: setting.backendPorts.map((port, i) => ({ url: `http://127.0.0.1:${port}`, id: names[i] })),
        pool: wide
          ? { maxConnections: 4096, maxIdle: 256, queue: { max: 20_000, timeout: "30s" } }
          : {
              maxConnections: perBackend,
              maxIdle: perBackend,
              queue: { max: 256, timeout: "1s", target: `${targetMs}ms` },
            },
        healthCheck: { type: "tcp", interval: ms(5000), timeout: ms(1000), unhealthyAfter: 3, healthyAfter: 1 },
        timeouts: { connect: "1s", response: `${patienceMs}ms` },
        ...(isolation ? on : off),
        ...(hedge ? { hedge: {} } : {}),
      },
    },
  };
}

/** @param {number} port @returns {Promise<import("../../src/admin/status.ts").StatusDocument | undefined>} */
export function statusDocument(port) {
  return new Promise((resolve) => {
    const request = get({ host: "127.0.0.1", port, path: "/api/v1/status", timeout: 1000 }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part) => {
        text += part;
      });
      response.on("end", () => resolve(response.statusCode === 200 ? JSON.parse(text) : undefined));
      response.on("error", () => resolve(undefined));
    });
    request.on("timeout", () => request.destroy());
    request.on("error", () => resolve(undefined));
  });
}

/**
 * It has no queue and no active checks; `limit_conn` keeps as many requests out as the others. What it does with a server
 * is read from its error log: attempts are counted where they fail.
 * @param {Setting} setting
 * @returns {Promise<Proxy>}
 */
async function startNginx(setting) {
  if (!installed("nginx")) throw new Missing("nginx is not installed");
  const { dir, backendPorts } = setting;
  const file = `${dir}/nginx.conf`;
  const seconds = `${Math.ceil(paced(10_000, setting) / 1000)}s`;
  writeFileSync(
    file,
    `${userInfo().uid === 0 ? "user root root;" : ""}
daemon off;
worker_processes 1;
worker_rlimit_nofile ${setting.fileLimit};
pid ${dir}/nginx.pid;
error_log stderr error;
events { worker_connections 24000; }
http {
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path ${dir}/client-body;
  proxy_temp_path ${dir}/proxy;
  fastcgi_temp_path ${dir}/fastcgi;
  uwsgi_temp_path ${dir}/uwsgi;
  scgi_temp_path ${dir}/scgi;
  limit_conn_zone $server_name zone=shop:1m;
  limit_conn_status 503;
  limit_conn_log_level info;
  upstream shop {
    least_conn;
    ${backendPorts.map((port) => `server 127.0.0.1:${port} max_fails=5 fail_timeout=${seconds} max_conns=${2 * perBackend};`).join("\n    ")}
    keepalive 64;
    keepalive_requests 1000000000;
  }
  server {
    listen 127.0.0.1:${setting.port} backlog=4096;
    server_name shop.test;
    location / {
      limit_conn shop ${backendPorts.length * perBackend};
      proxy_pass http://shop;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_connect_timeout 1s;
      proxy_read_timeout ${patienceMs}ms;
      proxy_next_upstream error timeout http_502 http_503;
      proxy_next_upstream_tries 3;
    }
  }
}
`,
  );
  const failures = backendPorts.map(() => 0);
  const onError = (/** @type {string} */ text) => {
    for (const [, port] of text.matchAll(/upstream: "http:\/\/127\.0\.0\.1:(\d+)\//g)) {
      const index = backendPorts.indexOf(Number(port));
      failures[index] = (failures[index] ?? 0) + 1;
    }
  };
  const running = start("nginx", ["-p", dir, "-c", file, "-e", "stderr"], { cpus: setting.cpus, onError });
  await listens(setting.port, running);
  const version = /nginx\/(\S+)/.exec(spawnSync("nginx", ["-v"], { encoding: "utf8" }).stderr)?.[1] ?? "?";
  return { version, running, look: async () => failures.map((attempts) => ({ state: "", attempts })) };
}

/**
 * With a queue as long as Spillway's aims to be, checks of its own and checkout before browsing.
 * @param {Setting} setting
 * @returns {Promise<Proxy>}
 */
async function startHaproxy(setting) {
  if (!installed("haproxy")) throw new Missing("haproxy is not installed");
  const file = `${setting.dir}/haproxy.cfg`;
  const socket = `${setting.dir}/haproxy.sock`;
  writeFileSync(
    file,
    `global
  nbthread 1
  maxconn ${Math.min(24_000, setting.fileLimit - 2000)}
  no strict-limits
  stats socket ${socket}
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server ${patienceMs}ms
  timeout queue ${targetMs}ms
  timeout http-keep-alive 60s
  http-reuse always
  option forwardfor
  option redispatch 1
  retries 2
  retry-on conn-failure empty-response response-timeout 502 503
frontend entry
  bind 127.0.0.1:${setting.port} backlog 4096
  default_backend shop
backend shop
  balance leastconn
  http-request disable-l7-retry if METH_POST
  http-request set-priority-class int(-10) if { path_beg /checkout/ }
  default-server check inter ${paced(5000, setting)}ms fall 3 rise 1 observe layer7 error-limit 5 on-error mark-down maxconn ${perBackend}
${setting.backendPorts.map((port, i) => `  server ${names[i]} 127.0.0.1:${port}`).join("\n")}
`,
  );
  const running = start("haproxy", ["-db", "-q", "-f", file], { cpus: setting.cpus });
  await listens(setting.port, running);
  const version = /version (\S+?)[-\s]/.exec(spawnSync("haproxy", ["-v"], { encoding: "utf8" }).stdout)?.[1] ?? "?";
  return { version, running, look: () => haproxySeen(socket) };
}

/** @param {string} path @returns {Promise<Seen[] | undefined>} */
function haproxySeen(path) {
  return new Promise((resolve) => {
    let text = "";
    const socket = connect(path, () => socket.write("show stat\n"));
    socket.setTimeout(1000, () => socket.destroy());
    socket.setEncoding("utf8").on("data", (part) => {
      text += part;
    });
    socket.on("error", () => {}); // and then it closes
    socket.on("close", () => {
      const [head = "", ...rows] = text.replace(/^# /, "").split("\n");
      const columns = head.split(",");
      const column = (/** @type {string[]} */ cells, /** @type {string} */ name) => cells[columns.indexOf(name)] ?? "";
      const seen = names.flatMap((name) => {
        const cells = rows.map((row) => row.split(",")).find((row) => row[0] === "shop" && row[1] === name);
        if (cells === undefined) return [];
        const attempts = Number(column(cells, "lbtot")) + Number(column(cells, "wretr"));
        return [{ state: column(cells, "status").toLowerCase().split(" ")[0] ?? "", attempts }];
      });
      resolve(seen.length === names.length ? seen : undefined);
    });
  });
}
