import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { SeededRandom } from "../../policy/model/random.ts";
import { VirtualClock } from "../../time/virtual-clock.ts";
import type { RedisClient } from "./ioredis.ts";
import { RedisConnection } from "./redis-connection.ts";
import { RedisStore } from "./redis-store.ts";

type Listener = (error: Error) => void;

/** A client that does what the test says. */
class FakeClient implements RedisClient {
  static last: FakeClient;
  readonly options: Readonly<Record<string, unknown>>;
  readonly asked: { args: unknown[]; resolve: (reply: string | null) => void; reject: (error: Error) => void }[] = [];
  status = "wait";
  destroyed = 0;
  stream = { destroy: () => this.destroyed++ };
  readonly #listeners: [event: string, listener: Listener][] = [];
  #connected: (() => void) | undefined;

  constructor(options: Readonly<Record<string, unknown>>) {
    this.options = options;
    FakeClient.last = this;
  }

  on(event: string, listener: Listener): void {
    this.#listeners.push([event, listener]);
  }

  connect(): Promise<void> {
    return new Promise((resolve) => {
      this.#connected = resolve;
    });
  }

  disconnect(): void {
    this.status = "end";
  }

  defineCommand(): void {}

  get(...args: unknown[]): Promise<string | null> {
    return this.#ask(["get", ...args]);
  }

  spillwayPlace(...args: unknown[]): Promise<string> {
    return this.#ask(["place", ...args]) as Promise<string>;
  }

  ready(): void {
    this.status = "ready";
    this.#connected?.();
    this.emit("ready");
  }

  lost(reason?: string): void {
    if (reason !== undefined) this.emit("error", new Error(reason));
    this.status = "reconnecting";
    this.emit("close");
  }

  emit(event: string, error = new Error()): void {
    for (const [name, listener] of this.#listeners) if (name === event) listener(error);
  }

  #ask(args: unknown[]): Promise<string | null> {
    return new Promise((resolve, reject) => this.asked.push({ args, resolve, reject }));
  }
}

function storeOf(url = "redis://app:secret@cache.test") {
  const clock = new VirtualClock();
  const entries: { code: string; message: string; reason: unknown }[] = [];
  const connection = new RedisConnection(url, FakeClient, clock);
  const client = FakeClient.last;
  const store = new RedisStore({
    connection,
    upstream: "web",
    prefix: "spillway:",
    timeoutMs: 50,
    clock,
    random: new SeededRandom(1),
    log: {
      write: (_level, code, message, fields) => entries.push({ code, message, reason: fields?.reason }),
      flush: () => {},
    },
  });
  const answers: string[] = [];
  const find = (key: string) =>
    store.find(key, (address, failed) => answers.push(failed ? "failed" : (address ?? "unknown")));
  const place = (key: string, address: string, ...instead: string[]) =>
    store.place(key, address, instead, 1_000, (owner, failed) => answers.push(failed ? "failed" : (owner ?? "")));
  return { clock, connection, client, store, entries, answers, find, place };
}

test("the client knows who we are, queues nothing and sends nothing twice", () => {
  const { client } = storeOf("rediss://app:secret@10.0.0.9:6380/3");
  expect(client.options).toMatchObject({
    host: "10.0.0.9",
    port: 6380,
    username: "app",
    password: "secret",
    db: 3,
    tls: {},
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
  });
  const retry = client.options.retryStrategy as (times: number) => number;
  expect([1, 2, 3, 5, 6, 100].map(retry)).toEqual([50, 100, 200, 800, 1_000, 1_000]);
});

test("a start ends when the connection is there, or after a second", async () => {
  const { store, client, clock } = storeOf();
  const started = store.start();
  client.ready();
  await started;
  expect(clock.armed).toBe(0);
  const late = storeOf();
  const given = late.store.start();
  late.clock.advance(1_000);
  await given;
  expect(late.store.view.up).toBe(false);
});

test("neither the id of a session nor a password leaves the process by key, view or log", async () => {
  const { store, client, find, entries } = storeOf();
  client.ready();
  find("a-secret-session-id");
  expect(client.asked[0]!.args).toEqual(["get", "spillway:web:2pzxYHagmvIc1DCU5MdaKZ"]);
  expect(store.view).toEqual({ kind: "redis", url: "redis://app@cache.test", up: true });
  client.lost("ERR unknown command, with args beginning with: app secret");
  expect(entries.map(({ message }) => message)).toEqual([
    "upstream web: sessions are not shared, redis://app@cache.test cannot be asked: ERR unknown command, with args beginning with: app ***",
  ]);
});

test("it finds and places", async () => {
  const { client, find, place, answers } = storeOf();
  client.ready();
  find("s1");
  find("s2");
  place("s3", "a:1", "y:1", "z:1");
  expect(client.asked[2]!.args).toEqual(["place", expect.any(String), "a:1", 1_000, "y:1", "z:1"]);
  client.asked[0]!.resolve("a:1");
  client.asked[1]!.resolve(null);
  client.asked[2]!.resolve("b:1");
  await turn();
  expect(answers).toEqual(["a:1", "unknown", "b:1"]);
});

test("without a connection everything has failed at once", () => {
  const { client, find, place, answers } = storeOf();
  find("s");
  place("s", "a:1");
  expect(answers).toEqual(["failed", "failed"]);
  expect(client.asked).toEqual([]);
});

test("each question has its whole time, and an answer that comes later is ignored", async () => {
  const { client, clock, find, answers } = storeOf();
  client.ready();
  find("s1");
  clock.advance(30);
  find("s2");
  clock.advance(19);
  expect(answers).toEqual([]);
  clock.advance(1);
  expect(answers).toEqual(["failed"]);
  clock.advance(29);
  client.asked[1]!.resolve("b:1");
  await turn();
  client.asked[0]!.resolve("a:1");
  await turn();
  clock.advance(1_000);
  expect(answers).toEqual(["failed", "b:1"]);
});

test("after five that came too late it is asked once a second, until it answers", async () => {
  const { store, client, clock, find, answers, entries } = storeOf();
  client.ready();
  for (let n = 0; n < 5; n++) find("s");
  clock.advance(50);
  expect(store.view.up).toBe(false);
  for (let n = 0; n < 100; n++) find("s");
  expect(client.asked.length).toBe(5);
  clock.advance(1_100);
  find("s");
  find("s");
  expect(client.asked.length).toBe(6);
  clock.advance(50);
  clock.advance(1_100);
  find("s");
  client.asked[6]!.resolve("a:1");
  await turn();
  expect(answers.at(-1)).toBe("a:1");
  expect(answers.length).toBe(108);
  expect(store.view.up).toBe(true);
  expect(entries.map(({ code, reason }) => [code, reason])).toEqual([
    ["session_store_down", "no answer within 50 ms"],
    ["session_store_up", undefined],
  ]);
});

test("a connection that is lost, again and again, is logged once, and once when it is back", () => {
  const { client, entries, find } = storeOf();
  client.ready();
  expect(entries).toEqual([]);
  client.lost("connect ECONNREFUSED 127.0.0.1:6379");
  for (let n = 0; n < 20; n++) {
    client.lost("connect ECONNREFUSED 127.0.0.1:6379");
    find("s");
  }
  client.ready();
  client.ready();
  expect(entries.map(({ code, reason }) => [code, reason])).toEqual([
    ["session_store_down", "connect ECONNREFUSED 127.0.0.1:6379"],
    ["session_store_up", undefined],
  ]);
});

test("whenever it can be asked again it says so, as it may have lost what it was told", async () => {
  const { store, client, clock, find } = storeOf();
  let recovered = 0;
  store.listen(() => recovered++);
  client.ready();
  expect(recovered).toBe(1);
  client.lost();
  client.lost();
  client.ready();
  expect(recovered).toBe(2);
  for (let n = 0; n < 5; n++) find("s");
  clock.advance(50);
  clock.advance(1_100);
  find("s");
  expect(recovered).toBe(2);
  client.asked.at(-1)!.resolve(null);
  await turn();
  expect([recovered, store.view.up]).toEqual([3, true]);
});

test("a new connection is asked at once, whatever the one before did", () => {
  const { client, clock, find } = storeOf();
  client.ready();
  for (let n = 0; n < 5; n++) find("s");
  clock.advance(50);
  client.lost();
  client.ready();
  find("s");
  expect(client.asked.length).toBe(6);
});

test("what Redis refuses has failed, and is logged once a minute with its reason", async () => {
  const { client, find, place, answers, entries } = storeOf();
  client.ready();
  for (let n = 0; n < 3; n++) {
    place("s", "a:1");
    find("s");
    client.asked.at(-2)!.reject(new Error("NOPERM this user has no permissions to run the 'eval' command"));
    client.asked.at(-1)!.resolve(null);
    await turn();
  }
  expect(answers.filter((answer) => answer === "failed").length).toBe(3);
  expect(entries.map(({ code }) => code)).toEqual(["session_store_refuses"]);
  expect(entries[0]!.message).toContain("NOPERM");
});

test("a server that owes an answer and says nothing for 5 s, or never greets, loses its connection", async () => {
  const { client, clock, find } = storeOf();
  client.emit("connect");
  clock.advance(5_000);
  expect(client.destroyed).toBe(1);
  client.ready();
  find("s");
  clock.advance(4_999);
  find("s");
  expect(client.destroyed).toBe(1);
  clock.advance(1);
  expect(client.destroyed).toBe(2);
});

test("as long as it answers something, and where it owes nothing, a connection stays", async () => {
  const { client, clock, find } = storeOf();
  client.ready();
  find("s");
  find("s");
  clock.advance(4_000);
  client.asked[0]!.resolve(null);
  await turn();
  clock.advance(4_000);
  client.asked[1]!.resolve(null);
  await turn();
  clock.advance(60_000);
  expect(client.destroyed).toBe(0);
});

test("after its end everything has failed, nothing is logged and no timer runs", async () => {
  const { store, client, clock, find, answers, entries } = storeOf();
  client.ready();
  find("s");
  store.close();
  store.close();
  client.lost("it is over");
  client.asked[0]!.reject(new Error("it is over"));
  await turn();
  find("s");
  expect(answers).toEqual(["failed", "failed"]);
  expect(store.view.up).toBe(false);
  expect(entries).toEqual([]);
  expect(clock.armed).toBe(0);
});
