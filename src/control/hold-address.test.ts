import { createServer } from "node:net";
import { expect, test } from "vitest";
import { holdAddress } from "./hold-address.ts";

test("port 0 becomes a real port, which nobody else gets until it is released", async () => {
  const held = await holdAddress({ kind: "tcp", host: "127.0.0.1", port: 0 });
  expect(held.port).toBeGreaterThan(0);
  const second = holdAddress({ kind: "tcp", host: "127.0.0.1", port: held.port });
  await expect(second).rejects.toMatchObject({ code: "EADDRINUSE", address: `127.0.0.1:${held.port}` });
  await held.release();
  const third = await holdAddress({ kind: "tcp", host: "127.0.0.1", port: held.port });
  await third.release();
});

test("a name is resolved once, so that all workers bind the same address", async () => {
  const held = await holdAddress({ kind: "tcp", host: "localhost", port: 0 });
  await held.release();
  expect(["127.0.0.1", "::1"]).toContain(held.host);
});

test("every address of the machine is held where no host is given", async () => {
  const held = await holdAddress({ kind: "tcp", host: undefined, port: 0 });
  const server = createServer();
  const code = await new Promise((resolve) => {
    server.once("error", (error: NodeJS.ErrnoException) => resolve(error.code));
    server.listen({ host: "0.0.0.0", port: held.port, exclusive: true }, () => resolve("bound"));
  });
  await held.release();
  expect(code).toBe("EADDRINUSE");
});
