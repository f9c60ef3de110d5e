import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { ConfigError, createSpillway, defineConfig } from "../index.ts";

let backend: Server | undefined;
afterEach(() => {
  backend?.close();
  backend = undefined;
});

async function backendUrl(): Promise<string> {
  backend = createServer((request, response) => response.end(`hello ${request.url}`));
  await new Promise<void>((resolve) => backend!.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(backend.address() as AddressInfo).port}`;
}

const quiet = { log: { write: () => {}, flush: () => {} } };

test("a program runs a load balancer in its own thread, and closes it", async () => {
  const config = defineConfig({
    listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
    upstreams: { web: { backends: [await backendUrl()] } },
  });
  const spillway = await createSpillway(config, quiet);
  const [bound] = spillway.listeners;
  const url = `http://127.0.0.1:${bound?.kind === "tcp" ? bound.port : 0}/x`;
  expect(await (await fetch(url)).text()).toBe("hello /x");
  expect(spillway.metrics().total.requests).toBe(1);
  expect(spillway.report()).toContain("Requests");
  expect(spillway.admin).toBeUndefined();
  await spillway.close();
  await expect(fetch(url)).rejects.toThrow();
});

test("the admin server runs where the configuration asks for one", async () => {
  const spillway = await createSpillway(
    {
      admin: { listen: "127.0.0.1:0" },
      listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
      upstreams: { web: { backends: [await backendUrl()] } },
    },
    quiet,
  );
  const { admin } = spillway;
  expect((await fetch(`http://127.0.0.1:${admin?.kind === "tcp" ? admin.port : 0}/readyz`)).status).toBe(200);
  await spillway.close();
});

test("every mistake of a configuration is in the error", async () => {
  const failed = createSpillway({ listeners: [{ listen: "nowhere", upstream: "web" }], upstreams: {} }, quiet);
  const error = await failed.catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(ConfigError);
  expect((error as ConfigError).mistakes.length).toBeGreaterThanOrEqual(2);
  expect((error as ConfigError).message).toContain("nowhere");
});

test("a file that does not exist is a mistake too", async () => {
  await expect(createSpillway("/nowhere/spillway.yaml", quiet)).rejects.toThrow(/there is no such file/);
});
