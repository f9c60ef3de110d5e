// Records what nginx picks: `node record.mjs > nginx-wrr.csv`. Needs nginx on the PATH; uses loopback only.
//
// A row: the weights in order, the requests, the backends nginx chose. A request is `.` or `x`: an `x` makes the
// backend it meets close the connection without an answer, so nginx counts a failed attempt (max_fails=1 takes the
// whole effective weight). fail_timeout=0 lets the backend back in as soon as the second has changed.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

const rows = [
  { weights: [5, 1, 1], requests: ".".repeat(28) },
  { weights: [4, 2, 1], requests: ".".repeat(28) },
  { weights: [1, 1, 1], requests: ".".repeat(12) },
  { weights: [3, 1], requests: ".".repeat(16) },
  { weights: [1, 5, 1, 7, 2], requests: ".".repeat(48) },
  { weights: [10, 10, 3, 1, 1, 1], requests: ".".repeat(78) },
  { weights: [100, 37, 11, 2], requests: ".".repeat(300) },
  { weights: [5, 1, 1], requests: `x${".".repeat(41)}` },
  { weights: [4, 2, 1], requests: `..x${".".repeat(40)}x${".".repeat(40)}` },
  { weights: [8, 8], requests: `.x${".".repeat(60)}` },
  { weights: [20, 5, 9], requests: `.....x${".".repeat(80)}x.x${".".repeat(120)}` },
];
const names = "abcdef";

const folder = await mkdtemp(join(tmpdir(), "nginx-wrr-"));
const backends = await Promise.all([...names].map(() => listen()));
const free = await listen();
const base = free.address().port;
await new Promise((closed) => free.close(closed));

const upstreams = rows.map(
  ({ weights }, row) =>
    `upstream u${row} { ${weights
      .map((weight, i) => `server 127.0.0.1:${backends[i].address().port} weight=${weight} max_fails=1 fail_timeout=0;`)
      .join(" ")} }`,
);
const locations = rows.map((_, row) => `location /${row}/ { proxy_pass http://u${row}; }`);
await writeFile(
  join(folder, "nginx.conf"),
  `worker_processes 1; daemon off; pid ${folder}/pid; error_log ${folder}/error.log crit;
   events {}
   http {
     access_log off;
     client_body_temp_path ${folder}/b; proxy_temp_path ${folder}/p; fastcgi_temp_path ${folder}/f;
     uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
     ${upstreams.join("\n")}
     server {
       listen 127.0.0.1:${base};
       proxy_next_upstream off;
       add_header x-picked $upstream_addr always;
       ${locations.join("\n")}
     }
   }`,
);
const nginx = spawn("nginx", ["-p", folder, "-c", join(folder, "nginx.conf")], { stdio: "inherit" });
try {
  await answering();
  console.log("weights,requests,picked");
  for (const [row, { weights, requests }] of rows.entries()) {
    let picked = "";
    for (const kind of requests) {
      picked += await pick(`/${row}/${kind}`);
      if (kind === "x") await new Promise((resolve) => setTimeout(resolve, 2_100));
    }
    console.log(`${weights.join(" ")},${requests},${picked}`);
  }
} finally {
  nginx.kill();
  await once(nginx, "exit");
  for (const backend of backends) backend.close();
  await rm(folder, { recursive: true });
}

async function listen() {
  const server = createServer((incoming, response) => {
    if (incoming.url.endsWith("x")) incoming.socket.destroy();
    else response.end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

async function pick(path) {
  const sent = request({ host: "127.0.0.1", port: base, path, agent: false }).end();
  const [response] = await once(sent, "response");
  response.resume();
  const port = Number(response.headers["x-picked"].split(":")[1]);
  return names[backends.findIndex((backend) => backend.address().port === port)];
}

async function answering() {
  for (let attempt = 0; ; attempt++) {
    try {
      await once(request({ host: "127.0.0.1", port: base, path: "/", agent: false }).end(), "response");
      return;
    } catch (error) {
      if (attempt === 50) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
