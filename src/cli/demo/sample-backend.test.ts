import { afterEach, expect, test } from "vitest";
import type { Random } from "../../policy/model/random.ts";
import { Load } from "./load.ts";
import { SampleBackend } from "./sample-backend.ts";

/** Draws that give a service time of zero, or of `meanMs` times a large number. */
const always = (value: number): Random => ({ next: () => value });
const AT_ONCE = always(0);

const open: { stop(): void }[] = [];
afterEach(() => {
  for (const thing of open.splice(0)) thing.stop();
});

async function started(backend: SampleBackend): Promise<SampleBackend> {
  open.push(backend);
  await backend.start();
  return backend;
}

test("a sample backend says who answered", async () => {
  const backend = await started(new SampleBackend("A", 1, AT_ONCE));
  const response = await fetch(`http://127.0.0.1:${backend.port}/`);
  expect(response.headers.get("x-demo-backend")).toBe("A");
  expect(await response.text()).toContain("served by A");
});

test("stopped it breaks what is running and refuses what is new, and comes back on its port", async () => {
  const backend = await started(new SampleBackend("A", 1e9, always(0.5)));
  const { port } = backend;
  const running = fetch(`http://127.0.0.1:${port}/`).catch(() => "broken");
  await new Promise((resolve) => setImmediate(resolve));
  backend.stop();
  expect(await running).toBe("broken");
  await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow();
  await backend.start();
  expect([backend.port, backend.running]).toEqual([port, true]);
});

test("requests of a load are answered one after the other, each reported once, until it is stopped", async () => {
  const backend = await started(new SampleBackend("A", 1, AT_ONCE));
  const paths = new Set<string>();
  let answered = 0;
  await new Promise<void>((resolve, reject) => {
    const load = new Load(backend.port, 4, {
      answered(tag, id, _startedMs, ms) {
        paths.add(`${tag} ${id}`);
        if (ms < 0) reject(new Error("ended before it began"));
        if (++answered === 50) {
          load.stop();
          resolve();
        }
      },
      failed: (_tag, _startedMs, why) => reject(new Error(why)),
    });
    load.aim("round-robin");
    load.start();
  });
  await new Promise((resolve) => setImmediate(resolve));
  expect(answered).toBe(50);
  expect([...paths]).toEqual(["round-robin A"]);
});

test("a load in front of nothing reports failures and does not spin", async () => {
  const backend = await started(new SampleBackend("A", 1, AT_ONCE));
  backend.stop();
  const why = await new Promise<string>((resolve) => {
    const load = new Load(backend.port, 1, {
      answered: () => resolve("answered"),
      failed(_tag, _startedMs, reason) {
        load.stop();
        resolve(reason);
      },
    });
    load.start();
  });
  expect(why).toContain("ECONNREFUSED");
});
