// http-proxy-3 as its README sets it up, with a keep-alive agent.

import { Agent, createServer } from "node:http";
import { addFields, backends, keepAliveTimeout, listenPort, nextBackend, requirePackage } from "./common.mjs";

const { createProxyServer } = requirePackage("http-proxy-3");
const proxy = createProxyServer({ agent: new Agent({ keepAlive: true, maxFreeSockets: 1024 }) });
proxy.on("error", (/** @type {Error} */ _error, /** @type {unknown} */ _request, /** @type {any} */ response) => {
  if (!response.headersSent) response.writeHead?.(502);
  response.end?.();
});

createServer({ keepAliveTimeout }, (request, response) => {
  addFields(request, request.headers);
  proxy.web(request, response, { target: backends[nextBackend()] });
}).listen(listenPort, "127.0.0.1", 4096);
