import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startProxy, type TestProxy, talk } from "../support/proxy.ts";

let backend: Server;
let proxy: TestProxy;

beforeAll(async () => {
  backend = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      const body = Buffer.concat(chunks);
      if (request.url?.startsWith("/size/") === true)
        return response.end(Buffer.alloc(Number(request.url.slice(6)), "x"));
      if (request.url?.startsWith("/chunked/") === true) {
        response.write("x".repeat(10));
        return response.end(Buffer.alloc(Number(request.url.slice(9)) - 10, "x"));
      }
      return response.end(
        JSON.stringify({
          method: request.method,
          url: request.url,
          headers: request.rawHeaders,
          body: body.toString().slice(0, 100),
          length: body.length,
        }),
      );
    });
  });
  await new Promise<void>((resolve) => backend.listen(0, "127.0.0.1", resolve));
  const { port } = backend.address() as AddressInfo;
  proxy = await startProxy({
    listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
    upstreams: { web: { backends: [`http://127.0.0.1:${port}`] } },
  });
});

afterAll(() => {
  proxy.close();
  backend.close();
  backend.closeAllConnections();
});

test("a request is answered by the backend", async () => {
  const answer = await talk(proxy.port, "GET /x HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n");
  expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
});

test.each([0, 10, 1000, 20_000, 100_000, 1_000_000, 20_000_000])("a body of %d bytes arrives whole", async (size) => {
  for (const kind of ["size", "chunked"]) {
    if (kind === "chunked" && size < 10) continue;
    const response = await fetch(`http://127.0.0.1:${proxy.port}/${kind}/${size}`);
    expect((await response.arrayBuffer()).byteLength).toBe(size);
  }
  const response = await fetch(`http://127.0.0.1:${proxy.port}/up`, { method: "POST", body: Buffer.alloc(size, "y") });
  expect(((await response.json()) as { length: number }).length).toBe(size);
});
