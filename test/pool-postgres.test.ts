import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ConnectionPool, createPool } from "../src/pool/index.ts";
import { findPostgres, Postgres } from "./support/postgres.mjs";

const installation = findPostgres();
if (typeof installation === "string") {
  if (process.env.CI === "true") throw new Error(installation);
  console.warn(`skipped: the pool on a real PostgreSQL. ${installation}`);
}

describe.skipIf(typeof installation === "string")("ConnectionPool on a real PostgreSQL", () => {
  let server: Postgres;
  let pool: ConnectionPool<pg.Client>;
  const closed: string[] = [];

  beforeAll(async () => {
    if (typeof installation === "string") return;
    server = await Postgres.start(installation);
    pool = createPool<pg.Client>({
      maxConnections: 4,
      queue: { timeoutMs: 10_000 },
      create: async (signal) => {
        const client = new pg.Client(server.address);
        client.on("error", () => {}); // `watch` hears of it, too, but only after create
        const abort = (): void => void client.end().catch(() => {});
        signal.addEventListener("abort", abort, { once: true });
        await client.connect();
        signal.removeEventListener("abort", abort);
        return client;
      },
      destroy: (client, reason) => {
        closed.push(reason);
        return client.end();
      },
      watch: (client, dead) => {
        client.on("error", dead).on("end", dead);
      },
    });
  });

  afterAll(async () => {
    pool?.close();
    await server?.remove();
  });

  const backendPid = async (client: pg.Client): Promise<number> =>
    (await client.query("select pg_backend_pid() as pid")).rows[0].pid;

  test("queries one after another run on one and the same connection", async () => {
    const pids = new Set<number>();
    for (let i = 0; i < 20; i++) pids.add(await pool.use(backendPid));
    expect(pids.size).toBe(1);
    expect(pool.stats).toMatchObject({ created: 1, reused: 19, idle: 1, busy: 0 });
  });

  test("the server never sees more connections than the bound, and all queries are answered", async () => {
    const work = Array.from({ length: 100 }, (_, i) =>
      pool.use(async (client) => {
        const { rows } = await client.query(
          "select $1::int as i, count(*)::int as open from pg_stat_activity where backend_type = 'client backend'",
          [i],
        );
        return rows[0] as { i: number; open: number };
      }),
    );
    const rows = await Promise.all(work);
    expect(rows.map(({ i }) => i)).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect(Math.max(...rows.map(({ open }) => open))).toBeLessThanOrEqual(4);
    expect(pool.stats).toMatchObject({ created: 4, idle: 4, busy: 0, waiting: 0 });
  });

  test("a failed query leaves a connection that is used again", async () => {
    const before = pool.stats.created;
    await expect(pool.use((client) => client.query("select * from nowhere"))).rejects.toThrow("nowhere");
    expect(await pool.use(backendPid)).toBeGreaterThan(0);
    expect(pool.stats.created).toBe(before);
  });

  test("a server that stops fails who asks, with the cause; when it is back, so is the pool", async () => {
    const running = pool.use((client) => client.query("select pg_sleep(60)"));
    const broken = expect(running).rejects.toThrow();
    await expect.poll(() => pool.stats.busy).toBe(1);
    await server.stop();
    await broken;
    // The connections end a moment after the server has.
    await expect.poll(() => pool.stats, { timeout: 5_000 }).toMatchObject({ idle: 0, busy: 0 });
    expect(new Set(closed)).toEqual(new Set(["dead"]));

    const asked = await Promise.allSettled(Array.from({ length: 10 }, () => pool.use(backendPid)));
    for (const answer of asked) {
      expect(answer).toMatchObject({
        status: "rejected",
        reason: { code: "unreachable", cause: { code: "ECONNREFUSED" } },
      });
    }
    expect(pool.stats).toMatchObject({ idle: 0, busy: 0, opening: 0, waiting: 0 });

    await server.start();
    const answered = await Promise.all(Array.from({ length: 10 }, () => pool.use(backendPid)));
    expect(new Set(answered).size).toBeLessThanOrEqual(4);
    expect(pool.stats).toMatchObject({ busy: 0, waiting: 0 });
  });

  test("a connection that the server ends while it is idle is not handed out", async () => {
    // One that is still being opened would not be among those that the server is told to end.
    await expect.poll(() => pool.stats, { timeout: 5_000 }).toMatchObject({ opening: 0, busy: 0 });
    const victims = await pool.use(async (client) => {
      const mine = await backendPid(client);
      const { rows } = await client.query(
        "select pid, pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'client backend' and pid <> $1",
        [mine],
      );
      return rows.map(({ pid }) => pid as number);
    });
    await expect.poll(() => pool.stats.idle, { timeout: 5_000 }).toBe(1);
    expect(victims).not.toContain(await pool.use(backendPid));
  });

  test("drain waits for a running query, and leaves no connection on the server", async () => {
    const running = pool.use((client) => client.query("select pg_sleep(0.1), 'done' as state"));
    await pool.drain();
    expect((await running).rows[0].state).toBe("done");
    await expect(pool.acquire()).rejects.toMatchObject({ code: "closed" });
    const observer = new pg.Client(server.address);
    await observer.connect();
    const open = async (): Promise<number> =>
      (await observer.query("select count(*)::int as n from pg_stat_activity where backend_type = 'client backend'"))
        .rows[0].n;
    await expect.poll(open, { timeout: 5_000 }).toBe(1);
    await observer.end();
  });
});
