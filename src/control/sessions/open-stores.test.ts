import { expect, test } from "vitest";
import { settingsOf } from "../../../test/support/fake-plane.ts";
import type { SettingsInput } from "../../config/settings.ts";
import { SeededRandom } from "../../policy/model/random.ts";
import { VirtualClock } from "../../time/virtual-clock.ts";
import { StartError } from "../start-error.ts";
import type { RedisConstructor } from "./ioredis.ts";
import { openStores } from "./open-stores.ts";

class SilentClient {
  readonly status = "wait";
  readonly stream = undefined;
  on(): void {}
  async connect(): Promise<void> {}
  disconnect(): void {}
  defineCommand(): void {}
  async get(): Promise<null> {
    return null;
  }
  async spillwayPlace(): Promise<string> {
    return "";
  }
}

type Affinity = NonNullable<SettingsInput["upstreams"][string]["affinity"]>;

async function open(workers: number, affinities: Readonly<Record<string, Affinity>>, installed = true) {
  let clients = 0;
  const Redis: RedisConstructor = class extends SilentClient {
    constructor() {
      super();
      clients++;
    }
  };
  const backends = ["http://127.0.0.1:9001"];
  const upstreams = Object.fromEntries(
    Object.entries(affinities).map(([name, affinity]) => [name, { backends, affinity }]),
  );
  const settings = settingsOf({
    listeners: [{ listen: "127.0.0.1:0", upstream: Object.keys(upstreams)[0]! }],
    upstreams,
  });
  const stores = await openStores(settings.upstreams, {
    workers,
    clock: new VirtualClock(),
    random: new SeededRandom(1),
    log: { write: () => {}, flush: () => {} },
    loadRedis: async () => (installed ? Redis : undefined),
  });
  const kinds = Object.fromEntries([...stores].map(([upstream, { view }]) => [upstream, view.kind]));
  return { kinds, clients: () => clients };
}

test("sessions that are remembered are shared among several workers; a cookie needs nobody", async () => {
  const affinities = { table: "header:x-session", cookie: "cookie:spillway", none: false } as const;
  expect((await open(2, affinities)).kinds).toEqual({ table: "memory" });
  expect((await open(1, affinities)).kinds).toEqual({});
});

test("a Redis is shared with other instances, so one worker is enough, and one connection for each URL", async () => {
  const { kinds, clients } = await open(1, {
    a: { header: "x-session", store: "redis://127.0.0.1:6379" },
    b: { "client-ip": true, store: { url: "redis://127.0.0.1:6379", timeout: "1ms" } },
    c: { "client-ip": true, store: "redis://127.0.0.1:6379/1" },
  });
  expect(kinds).toEqual({ a: "redis", b: "redis", c: "redis" });
  expect(clients()).toBe(2);
});

test("a Redis without the package for it is an error that says what to install", async () => {
  const failed = open(1, { web: { "client-ip": true, store: "redis://127.0.0.1:6379" } }, false);
  await expect(failed).rejects.toThrow(StartError);
  await expect(failed).rejects.toThrow("upstream web");
  await expect(failed).rejects.toThrow("npm install ioredis");
});

test("the package is not looked for where no Redis is wanted", async () => {
  await expect(open(2, { web: "client-ip" }, false)).resolves.toMatchObject({ kinds: { web: "memory" } });
});
