import { describe, expect, test } from "vitest";
import { VirtualClock } from "../time/virtual-clock.ts";
import type { BackendConnection } from "./backend-connection.ts";
import type { Exchange } from "./exchange.ts";
import type { MovableTunnel } from "./rebalancer.ts";
import type { Services } from "./services.ts";
import { type Connection, NOBODY } from "./transport/connection.ts";
import { Tunnel } from "./tunnel.ts";

/** A connection that remembers what it was asked to do. */
class FakeConnection implements Connection {
  handler = NOBODY;
  readonly peer = "127.0.0.1";
  unsent = false;
  written = "";
  ended = false;

  write(text: string): boolean {
    this.written += text;
    return true;
  }
  writeLent(bytes: Uint8Array): boolean {
    return this.write(Buffer.from(bytes).toString("latin1"));
  }
  end(): void {
    this.ended = true;
  }
  flush(): void {}
  pause(): void {}
  resume(): void {}
  readInto(): void {}
  later(): void {}
  destroy(): void {}
  reset(): void {}
}

/** A tunnel of an upstream whose tunnels are rebalanced (unless told otherwise), a second after it was last used. */
function stage({ upgrade = "websocket", rebalanced = true } = {}) {
  const clock = new VirtualClock();
  const client = new FakeConnection();
  const connection = new FakeConnection();
  const siblings = new Set<MovableTunnel>();
  const timer = clock.timer(() => tunnel.backendLate());
  const backend = { slot: 3, connection, expectWithin: (ms: number) => timer.set(ms) };
  const rebalancer = { tunnelsAt: (slot: number) => (slot === 3 ? siblings : undefined) };
  const upstreams = new Map([[0, { rebalancer: rebalanced ? rebalancer : undefined }]]);
  let bytesOut = 0;
  let over = 0;
  const stripe = {
    bytesOut: (bytes: number) => {
      bytesOut += bytes;
    },
  };
  const exchange = {
    head: { upgrade },
    reason: "",
    session: { connection: client, listener: { timeouts: { tunnel: 60_000 } }, closeTunnel: () => over++ },
    tunnelClosed() {},
  };
  const tunnel = new Tunnel(
    exchange as unknown as Exchange,
    backend as unknown as BackendConnection,
    { clock, stripe, upstreams, buffers: {} } as unknown as Services,
  );
  const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");
  const fromClient = (text: string) => tunnel.requestBytes(hex(text), 0, hex(text).length);
  const fromBackend = (text: string) => tunnel.responseBytes(hex(text), 0, hex(text).length);
  clock.advance(1_000);
  return {
    tunnel,
    clock,
    client,
    connection,
    siblings,
    exchange,
    fromClient,
    fromBackend,
    over: () => over === 1,
    bytesOut: () => bytesOut,
  };
}

const HI = "81 02 68 69";
const MASKED_HI = "81 82 00 00 00 00 68 69";
const MASKED_CLOSE = "88 82 00 00 00 00 03 f4";
const COME_AGAIN = "\x88\x11\x03\xf4service restart";

test("closed gently, its client gets a Close with 1012, and it is none of its backend's any more", () => {
  const { tunnel, client, siblings, exchange, over } = stage();
  expect(siblings.has(tunnel)).toBe(true);
  expect(tunnel.closeGently()).toBe(true);
  expect(client.written).toBe(COME_AGAIN);
  expect(siblings.size).toBe(0);
  expect(exchange.reason).toBe("rebalanced");
  expect([client.ended, over()]).toEqual([false, false]);
  expect(tunnel.closeGently()).toBe(false);
  expect(client.written).toBe(COME_AGAIN);
});

describe("it is no moment to close", () => {
  test.each<readonly [string, (on: ReturnType<typeof stage>) => void]>([
    ["within a second of a message of the client's", ({ fromClient }) => fromClient(MASKED_HI)],
    ["within a second of a message of the backend's", ({ fromBackend }) => fromBackend(HI)],
    ["within a frame of the backend's", (on) => idleAfter(on, () => on.fromBackend("81 05 68"))],
    ["within a frame of the client's", (on) => idleAfter(on, () => on.fromClient("81 85 00 00"))],
    ["between the fragments of a message", (on) => idleAfter(on, () => on.fromBackend("01 02 68 69"))],
    ["after a Close of the backend's", (on) => idleAfter(on, () => on.fromBackend("88 00"))],
    ["after a Close of the client's", (on) => idleAfter(on, () => on.fromClient(MASKED_CLOSE))],
    ["when what passes is no WebSocket", (on) => idleAfter(on, () => on.fromBackend("ff ff ff"))],
    ["while the client has not taken everything", ({ client }) => Object.assign(client, { unsent: true })],
    ["while the backend has not taken everything", ({ connection }) => Object.assign(connection, { unsent: true })],
    ["when a side has ended", ({ tunnel }) => tunnel.clientEnded()],
    ["when it is over", ({ tunnel }) => tunnel.close()],
  ])("%s", (_, happens) => {
    const on = stage();
    happens(on);
    const before = on.client.written;
    expect(on.tunnel.mayClose).toBe(false);
    expect(on.tunnel.closeGently()).toBe(false);
    expect(on.client.written).toBe(before);
  });

  test("in another protocol", () => {
    const { tunnel, siblings } = stage({ upgrade: "echo" });
    expect(tunnel.mayClose).toBe(false);
    expect(siblings.size).toBe(1);
  });

  test("where tunnels are not rebalanced", () => {
    const { tunnel, siblings } = stage({ rebalanced: false });
    expect(tunnel.mayClose).toBe(false);
    expect(siblings.size).toBe(0);
  });

  function idleAfter({ clock }: ReturnType<typeof stage>, happens: () => void): void {
    happens();
    clock.advance(5_000);
  }
});

test("a second after the last whole message it is one again, whatever its protocol's name is spelled like", () => {
  const { tunnel, clock, fromBackend, fromClient, client, connection } = stage({ upgrade: "WebSocket" });
  fromBackend(HI);
  fromClient(MASKED_HI);
  clock.advance(999);
  expect(tunnel.mayClose).toBe(false);
  clock.advance(1);
  expect(tunnel.mayClose).toBe(true);
  expect([client.written, connection.written]).toEqual(["\x81\x02hi", "\x81\x82\0\0\0\0hi"]);
});

describe("after the Close", () => {
  test("what the client answers reaches the backend, what the backend still sends is dropped", () => {
    const { tunnel, client, connection, fromBackend, fromClient } = stage();
    tunnel.closeGently();
    fromBackend(HI);
    fromClient(MASKED_CLOSE);
    fromBackend("88 02 03 f4");
    expect(connection.written).toBe("\x88\x82\0\0\0\0\x03\xf4");
    expect(client.written).toBe(COME_AGAIN);
  });

  test("it is over when the backend ends", () => {
    const { tunnel, client, over, bytesOut } = stage();
    tunnel.closeGently();
    tunnel.backendEnded();
    expect([client.ended, over()]).toEqual([true, true]);
    expect(bytesOut()).toBe(COME_AGAIN.length);
  });

  test("it is over when the client ends, as soon as its backend has taken what it said", () => {
    const { tunnel, clock, connection, over } = stage();
    tunnel.closeGently();
    connection.unsent = true;
    clock.advance(5_000);
    tunnel.clientEnded();
    tunnel.clientGone();
    expect([connection.ended, over()]).toEqual([true, false]);
    clock.advance(4_999);
    expect(over()).toBe(false);
    clock.advance(1);
    expect(over()).toBe(true);
  });

  test("it is over after ten seconds, however much either still says", () => {
    const { tunnel, clock, over, fromBackend, fromClient } = stage();
    tunnel.closeGently();
    for (let i = 0; i < 9; i++) {
      clock.advance(1_000);
      fromClient(MASKED_HI);
      fromBackend(HI);
    }
    expect(over()).toBe(false);
    clock.advance(1_000);
    expect(over()).toBe(true);
  });
});

test("a tunnel that is over is none of its backend's any more", () => {
  const { tunnel, siblings, over } = stage();
  tunnel.backendClosed();
  expect([siblings.size, over()]).toEqual([0, true]);
});
