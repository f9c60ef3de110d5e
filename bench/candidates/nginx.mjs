// nginx with keep-alive upstreams; once with its own buffer sizes, once with large ones and no temporary files.
// Its defaults write bodies above 64 KiB to disk when the client is slower, which flatters everybody else.

import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { answers, freePorts, installed, Missing, start } from "../lib/processes.mjs";

/** @type {import("./candidate.mjs").StartCandidates} */
export async function startNginx(context) {
  if (!installed("nginx")) throw new Missing("nginx is not installed");
  const [port = 0, tunedPort = 0] = await freePorts(2);
  const file = `${context.dir}/nginx.conf`;
  writeFileSync(file, configuration(context, port, tunedPort));
  const running = start("nginx", ["-p", context.dir, "-c", file, "-e", "stderr"], { cpus: context.cpus });
  context.started?.(running);
  await answers(port, running);
  const version = /nginx\/(\S+)/.exec(spawnSync("nginx", ["-v"], { encoding: "utf8" }).stderr)?.[1] ?? "?";
  return [
    { id: "nginx", label: "nginx", version, port, pid: running.pid },
    { id: "nginx-large", label: "nginx, large buffers", version, port: tunedPort, pid: running.pid, onlyBodies: true },
  ];
}

/** @param {import("./candidate.mjs").Context} context @param {number} port @param {number} tunedPort */
function configuration(context, port, tunedPort) {
  const asRoot = userInfo().uid === 0 ? "user root root;" : "";
  const server = (/** @type {number} */ listen, /** @type {string} */ more) => `
  server {
    listen 127.0.0.1:${listen} backlog=4096;
    ${more}
    location / {
      proxy_pass http://backends;
    }
  }`;
  return `${asRoot}
daemon off;
worker_processes 1;
worker_rlimit_nofile ${context.fileLimit};
pid ${context.dir}/nginx.pid;
error_log stderr error;
events { worker_connections 24000; }
http {
  access_log off;
  keepalive_requests 1000000000;
  client_max_body_size 0;
  client_body_temp_path ${context.dir}/client-body;
  proxy_temp_path ${context.dir}/proxy;
  fastcgi_temp_path ${context.dir}/fastcgi;
  uwsgi_temp_path ${context.dir}/uwsgi;
  scgi_temp_path ${context.dir}/scgi;
  upstream backends {
    ${context.backendPorts.map((backend) => `server 127.0.0.1:${backend};`).join("\n    ")}
    keepalive 1024;
    keepalive_requests 1000000000;
  }
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $http_host;
  proxy_set_header X-Forwarded-For $remote_addr;
  proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Forwarded-Host $http_host;
  proxy_set_header Via "1.1 nginx";
  proxy_set_header X-Request-Id $request_id;
  ${server(port, "")}
  ${server(
    tunedPort,
    "proxy_buffer_size 64k; proxy_buffers 32 64k; proxy_busy_buffers_size 1m; proxy_max_temp_file_size 0; client_body_buffer_size 256k;",
  )}
}
`;
}
