// nginx with keep-alive upstreams, three times: with its own buffer sizes, with large ones and no temporary files, and
// without buffering. Its defaults go through small buffers and the disk once bodies are larger than those, which flatters
// everybody else. The sizes are those that cost least over all shapes with bodies: buffers of a megabyte and more per
// connection are dearer than the defaults, because they no longer fit into the processor's cache.

import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { answers, freePorts, installed, Missing, start } from "../lib/processes.mjs";

/** @type {import("./candidate.mjs").StartCandidates} */
export async function startNginx(context) {
  if (!installed("nginx")) throw new Missing("nginx is not installed");
  const [port = 0, largePort = 0, unbufferedPort = 0] = await freePorts(3);
  const file = `${context.dir}/nginx.conf`;
  writeFileSync(file, configuration(context, port, largePort, unbufferedPort));
  const running = start("nginx", ["-p", context.dir, "-c", file, "-e", "stderr"], { cpus: context.cpus });
  context.started?.(running);
  await answers(port, running);
  const version = /nginx\/(\S+)/.exec(spawnSync("nginx", ["-v"], { encoding: "utf8" }).stderr)?.[1] ?? "?";
  const { pid } = running;
  return [
    { id: "nginx", label: "nginx", version, port, pid },
    { id: "nginx-large", label: "nginx, large buffers", version, port: largePort, pid, onlyBodies: true },
    { id: "nginx-unbuffered", label: "nginx, unbuffered", version, port: unbufferedPort, pid, onlyBodies: true },
  ];
}

/** @param {import("./candidate.mjs").Context} context @param {number} port @param {number} largePort @param {number} unbufferedPort */
function configuration(context, port, largePort, unbufferedPort) {
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
    largePort,
    "proxy_buffer_size 64k; proxy_buffers 4 64k; proxy_busy_buffers_size 128k; proxy_max_temp_file_size 0; client_body_buffer_size 256k;",
  )}
  ${server(
    unbufferedPort,
    "proxy_buffering off; proxy_request_buffering off; proxy_buffer_size 256k; proxy_buffers 8 256k; client_body_buffer_size 16k;",
  )}
}
`;
}
