// fast-proxy with undici below it, which its README calls the faster way; one instance per backend, since it has one base.

import { createServer } from "node:http";
import { addFields, backends, keepAliveTimeout, listenPort, nextBackend, requirePackage } from "./common.mjs";

const fastProxy = requirePackage("fast-proxy");
const proxies = backends.map((base) => fastProxy({ base, undici: { connections: 1024, pipelining: 1 } }).proxy);

const options = {
  /** @param {import("node:http").IncomingMessage} request @param {Record<string, string | undefined>} headers */
  rewriteRequestHeaders(request, headers) {
    addFields(request, headers);
    // undici refuses hop-by-hop fields of the client's.
    delete headers.connection;
    delete headers["transfer-encoding"];
    return headers;
  },
};

createServer({ keepAliveTimeout }, (request, response) => {
  proxies[nextBackend()](request, response, request.url, options);
}).listen(listenPort, "127.0.0.1", 4096);
