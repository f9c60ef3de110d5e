import type { ReadMode } from "../../src/proxy/transport/net-connection.ts";
import { type ChaosBackend, chaosBackend, type Service } from "../support/chaos-backend.ts";
import { answerTo, misbehave, see } from "../support/chaos-client.ts";
import { type Cues, cues } from "../support/chaos-cue.ts";
import { LARGE_BYTES, type RequestKind, requestOf, uploadOf, whole } from "../support/chaos-requests.ts";
import { startProxy, type TestProxy } from "../support/proxy.ts";
import { dial, eventually, type Wire } from "../support/wire.ts";
import type { BackendRow, ClientRow } from "./cells.ts";
import type { Outcome, Retrying } from "./rules.ts";

/** Deadlines of a proxy whose other side is to be found too slow, and of all others: nothing may depend on these. */
const SHORT = "500ms";
const LONG = "20s";
const SLOW: ReadonlySet<string> = new Set(["stall", "drip", "deaf", "too-short"]);

/** Whether the cell is ended by a deadline, or is about to be: it needs a thread that does not stand still itself. */
export function isSlow({ fault }: BackendRow | ClientRow): boolean {
  return SLOW.has(fault);
}

/** Whether it moves megabytes. */
export function isLarge(row: BackendRow | ClientRow): boolean {
  return "large" in row ? row.large : row.phase === "amid-answer" && row.fault === "stall";
}

/** What is set up for one cell. */
interface Stage {
  readonly proxy: TestProxy;
  readonly backends: readonly ChaosBackend[];
  readonly clients: Wire[];
}

/** Sends one request through a proxy whose first backend does what `row` says. */
export async function runBackendCell(
  row: BackendRow,
  kind: RequestKind,
  second: boolean,
  id: string,
  deafPort: number,
  retrying: Retrying = "default",
): Promise<Outcome> {
  const cell = cues();
  const backends = [await chaosBackend("a", cell, row.fault === "deaf" ? undefined : row)];
  if (second) backends.push(await chaosBackend("b", cues(), undefined));
  const urls = backends.map(({ url }) => url);
  if (row.fault === "deaf") urls[0] = `http://127.0.0.1:${deafPort}`;
  const wait = isSlow(row) ? SHORT : LONG;
  const timeouts = { connect: wait, response: wait, idle: wait };
  const proxy = await startProxy(settings(urls, timeouts, {}, RETRY[retrying]));
  const once = kind === "POST" && retrying !== "unsafe";
  return onStage({ proxy, backends, clients: [] }, id, once, async (stage) => {
    const wire = await client(stage);
    if (row.phase === "idle" || row.phase === "reused") {
      wire.write(whole(requestOf("GET", `${id}-before`)));
      const before = await see(wire, "GET", `${id}-before`);
      if (before !== "200 from a") return [`before: ${before}`];
      if (row.phase === "idle") await cell.struck.within(cell.patienceMs);
    }
    await sendInStep(wire, row, requestOf(kind, id, row.large ? LARGE_BYTES : undefined), cell);
    const { seen, last } = await answerTo(wire, kind, id);
    if (row.fault !== "refuse" && row.fault !== "deaf" && !(await cell.struck.within(cell.patienceMs)))
      return [seen, "BUT NOTHING HAPPENED"];
    const lost = (row.fault === "refuse" || row.fault === "deaf") && !second;
    // Others are served, and so is the same client, where it was told that it may go on.
    const others = [await client(stage), ...(last ? [] : [wire])];
    for (const [at, other] of others.entries()) {
      other.write(whole(requestOf("GET", `${id}-after-${at}`)));
      const after = await see(other, "GET", `${id}-after-${at}`);
      if (lost ? after !== seen : !after.startsWith("200 from")) return [seen, `after: ${after}`];
    }
    return [seen];
  });
}

/** The pieces of a request, as far apart as the backend's deed asks for. */
async function sendInStep(wire: Wire, { phase }: BackendRow, request: ReturnType<typeof requestOf>, cell: Cues) {
  if (request.kind === "GET" || (phase !== "after-head" && phase !== "amid-upload")) {
    wire.write(whole(request));
    return;
  }
  wire.write(phase === "after-head" ? request.head : request.head + request.firstHalf);
  await cell.struck.within(cell.patienceMs);
  wire.write(phase === "after-head" ? request.firstHalf + request.secondHalf : request.secondHalf);
}

/** Has a client do what `row` says, in front of one healthy backend. */
export async function runClientCell(row: ClientRow, kind: RequestKind, id: string): Promise<Outcome> {
  const cell = cues();
  const { phase } = row;
  const size = isLarge(row) ? LARGE_BYTES : undefined;
  const service: Service = {
    ...(phase === "waiting" || phase === "pipelined" ? { hold: "answer" as const } : {}),
    ...(phase === "amid-answer" && size === undefined ? { hold: "half" as const } : {}),
    ...(size === undefined ? {} : { size }),
  };
  const backends = [await chaosBackend("a", cell, undefined, service)];
  const wait = isSlow(row) ? SHORT : LONG;
  const listener = { timeouts: { head: wait, idle: wait, body: wait } };
  const proxy = await startProxy(
    settings(
      backends.map(({ url }) => url),
      { response: LONG, idle: LONG },
      listener,
    ),
  );
  return onStage({ proxy, backends, clients: [] }, id, kind === "POST", async (stage) => {
    const wire = await client(stage);
    const seen = await misbehave(wire, row, { kind, id, cues: cell, ...(size === undefined ? {} : { size }) });
    const other = await client(stage);
    other.write(whole(requestOf("GET", `${id}-other`)));
    const after = await see(other, "GET", `${id}-other`, size);
    return after === "200 from a" ? seen : [...seen, `after: ${after}`];
  });
}

/** Lets a client that does one thing meet a backend that does another. */
export async function runBothSides(
  row: BackendRow,
  clientRow: ClientRow,
  kind: RequestKind,
  count: number,
  id: string,
  mode: ReadMode,
): Promise<Outcome> {
  // Each side waits for a word of the other that may never come.
  const cell = cues(150);
  const backends = [await chaosBackend("a", cell, row)];
  if (count > 1) backends.push(await chaosBackend("b", cues(), undefined));
  const listener = { timeouts: { head: SHORT, idle: SHORT, body: SHORT } };
  const timeouts = { connect: SHORT, response: SHORT, idle: SHORT };
  const proxy = await startProxy(
    settings(
      backends.map(({ url }) => url),
      timeouts,
      listener,
    ),
    mode,
  );
  return onStage({ proxy, backends, clients: [] }, id, kind === "POST", async (stage) => {
    if (row.phase === "idle" || row.phase === "reused") {
      const before = await client(stage);
      before.write(whole(requestOf("GET", `${id}-before`)));
      await see(before, "GET", `${id}-before`);
      if (row.phase === "idle") await cell.struck.within(1_000);
    }
    return misbehave(await client(stage), clientRow, { kind, id, cues: cell });
  });
}

const RETRY = { default: {}, off: { retry: false as const }, unsafe: { retry: { unsafeMethods: true } } };

function settings(
  urls: readonly string[],
  timeouts: Record<string, string>,
  listener: object = {},
  retry: (typeof RETRY)[Retrying] = {},
) {
  return {
    listeners: [{ listen: "127.0.0.1:0", upstream: "web", ...listener }],
    upstreams: {
      web: {
        // The first one has every first turn.
        backends: urls.map((url, at) => ({ url, weight: at === 0 ? 256 : 1 })),
        timeouts,
        ...retry,
      },
    },
  };
}

async function client(stage: Stage): Promise<Wire> {
  const wire = await dial(stage.proxy.port);
  stage.clients.push(wire);
  return wire;
}

/** Plays, sends everybody home, and says what came of it. */
async function onStage(
  stage: Stage,
  id: string,
  once: boolean,
  play: (stage: Stage) => Promise<readonly string[]>,
): Promise<Outcome> {
  try {
    const seen = await play(stage);
    for (const wire of stage.clients) wire.destroy();
    const left = await leftOver(stage);
    return {
      client: seen,
      read: stage.backends.map((backend) => readBy(backend, id)),
      left: left + illDelivered(stage, id, once),
    };
  } finally {
    for (const wire of stage.clients) wire.destroy();
    stage.proxy.close();
    await Promise.all(stage.backends.map((backend) => backend.close()));
  }
}

/** How often a backend read the request whole. */
function readBy(backend: ChaosBackend, id: string): number {
  return backend.arrivals().filter((arrival) => arrival.id === id && arrival.whole).length;
}

/** What no cell may ever show: what must be sent once begun on two connections, another's body, a fault of a script. */
function illDelivered({ backends }: Stage, id: string, once: boolean): string {
  const all = backends.flatMap((backend) => backend.arrivals());
  const own = all.filter((arrival) => arrival.id === id);
  if (once && own.length > 1) return `SENT ${own.length} TIMES`;
  const wrong = own.filter(
    ({ whole, body, method }) => whole && method !== "GET" && body !== uploadOf(id, body.length),
  );
  if (wrong.length > 0) return "A WRONG BODY DELIVERED";
  return backends.flatMap(({ errors }) => errors).join();
}

/** What is still there after everybody has gone, in words; empty when nothing is. */
async function leftOver(stage: Stage): Promise<string> {
  for (const backend of stage.backends) backend.letGo();
  // What it comes to is read once: reading all counters of a proxy takes its time.
  await eventually(() => open(stage) === "", "", 3_000).catch(() => {});
  return [open(stage), counted(stage)].filter((words) => words !== "").join(", ");
}

/** What is open. */
function open({ proxy, backends }: Stage): string {
  const { clientConnections, exchanges, tunnels, waiting, backends: pools } = proxy.plane.inspect();
  const sum = (count: (pool: (typeof pools)[number]) => number) => pools.reduce((all, pool) => all + count(pool), 0);
  return inWords({
    "client connections": clientConnections,
    exchanges,
    tunnels,
    "busy connections": sum(({ busy }) => busy),
    "opening connections": sum(({ opening }) => opening),
    waiting: sum((pool) => pool.waiting) + waiting,
    // What a backend holds open that the proxy does not know of, or the other way round.
    "connections to backends": backends.reduce((all, backend) => all + backend.open, 0) - sum(({ idle }) => idle),
  });
}

/** What the counters say is running, and what was logged of faults. */
function counted({ proxy }: Stage): string {
  const { total, upstreams } = proxy.snapshot();
  const attempts = upstreams.flatMap((upstream) => upstream.backends);
  return inWords({
    "exchanges counted": upstreams.reduce((all, { active }) => all + active, total.active),
    "waiting counted": upstreams.reduce((all, { waiting }) => all + waiting, 0),
    "attempts counted": attempts.reduce((all, { active }) => all + active, 0),
    faults: proxy.logs.filter(({ code }) => code === "fault" || code === "pool").length,
  });
}

function inWords(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .filter(([, count]) => count !== 0)
    .map(([what, count]) => `${count} ${what}`)
    .join(", ");
}
