import { expect, test } from "vitest";
import { SeededRandom } from "../../src/policy/model/random.ts";
import { READ_MODES, scene } from "../support/scene.ts";
import { eventually, pause, turn, type Wire, WireEnd } from "../support/wire.ts";

const SEEDS = Number(process.env.SPILLWAY_MIXTURE_SEEDS ?? 4);
const SIZES = [0, 1, 100, 5_000, 16_384, 40_000, 70_000, 300_000];

/** A body of its own for each message, so that no byte can come from another one unseen. */
function body(id: string, size: number): string {
  const word = `<${id}>`;
  return word.repeat(Math.ceil(size / word.length)).slice(0, size);
}

class Dice {
  readonly #random: SeededRandom;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
  }

  below(limit: number): number {
    return Math.floor(this.#random.next() * limit);
  }

  one<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  chance(p: number): boolean {
    return this.#random.next() < p;
  }
}

/** `text` as chunks of any size, some with extensions. */
function chunked(dice: Dice, text: string): string {
  let coded = "";
  for (let at = 0; at < text.length; ) {
    const piece = text.slice(at, at + 1 + dice.below(dice.one([10, 1_000, 100_000])));
    coded += `${piece.length.toString(16)}${dice.chance(0.1) ? ";x=y" : ""}\r\n${piece}\r\n`;
    at += piece.length;
  }
  return `${coded}0\r\n${dice.chance(0.3) ? "X-Trailer: 1\r\n" : ""}\r\n`;
}

/** Writes in cuts of any size, with and without pauses. */
async function write(dice: Dice, wire: Wire, text: string): Promise<void> {
  for (let at = 0; at < text.length; ) {
    const size = 1 + dice.below(dice.one([20, 2_000, 40_000, 400_000]));
    const piece = text.slice(at, at + size);
    at += piece.length;
    if (wire.closed) return;
    if (!wire.socket.write(piece, "latin1") && dice.chance(0.8)) {
      await new Promise<void>((resolve) => {
        wire.socket.once("drain", resolve);
        wire.socket.once("close", () => resolve());
      });
    }
    if (at < text.length && text.length / size < 300 && dice.chance(0.5)) await turn();
    if (dice.chance(0.02)) await pause(dice.below(5));
  }
}

test.each(READ_MODES.flatMap((mode) => Array.from({ length: SEEDS }, (_, seed) => [mode, seed + 1] as const)))(
  "whatever sizes, framings, cuts and ends come together, every client gets its own answers, whole and in order (%s, seed %d)",
  async (mode, seed) => {
    const backendDice = new Dice(seed * 1_000);
    const { client, proxy, quiet } = await scene(
      async (wire) => {
        const dice = backendDice;
        for (;;) {
          const request = await wire.request();
          const [id, size, framing] = request.start.split(" ")[1]!.slice(1).split("/") as [string, string, string];
          expect(request.body === body(`up${id}`, request.body.length)).toBe(true);
          expect(request.value("x-size")).toBe(String(request.body.length));
          const answer = body(id, Number(size));
          if (dice.chance(0.1)) await write(dice, wire, `HTTP/1.1 103 Early Hints\r\nX-Id: ${id}\r\n\r\n`);
          if (dice.chance(0.1)) await pause(dice.below(10));
          const closes = dice.chance(0.1);
          const head = `HTTP/1.1 200 OK\r\nX-Id: ${id}\r\n${closes ? "Connection: close\r\n" : ""}`;
          if (request.start.startsWith("HEAD")) {
            await write(dice, wire, `${head}Content-Length: ${size}\r\n\r\n`);
          } else if (framing === "length") {
            await write(dice, wire, `${head}Content-Length: ${size}\r\n\r\n${answer}`);
          } else if (framing === "chunked") {
            await write(dice, wire, `${head}Transfer-Encoding: chunked\r\n\r\n${chunked(dice, answer)}`);
          } else {
            await write(dice, wire, `${head}\r\n${answer}`);
            return wire.end();
          }
          if (closes) return wire.end();
        }
      },
      { mode, upstream: { pool: { maxConnections: 6, maxIdle: 3 } } },
    );

    const session = async (n: number) => {
      const dice = new Dice(seed * 100 + n);
      for (let connection = 0; connection < 3; connection++) {
        const wire = await client();
        const requests = Array.from({ length: 1 + dice.below(10) }, (_, i) => {
          const id = `${n}-${connection}-${i}`;
          const size = dice.one(SIZES);
          const method = dice.one(["GET", "GET", "POST", "PUT", "HEAD"]);
          const up = method === "POST" || method === "PUT" ? body(`up${id}`, dice.one(SIZES)) : "";
          const old = dice.chance(0.1);
          const target = `/${id}/${size}/${dice.one(["length", "chunked", "close"])}`;
          let text = `${method} ${target} HTTP/1.${old ? 0 : 1}\r\nHost: h${dice.below(3)}.test\r\nX-Size: ${up.length}\r\n`;
          if (old) text += "Connection: keep-alive\r\n";
          if (method === "GET" || method === "HEAD") text += "\r\n";
          else if (dice.chance(0.5) && !old) text += `Transfer-Encoding: chunked\r\n\r\n${chunked(dice, up)}`;
          else text += `Content-Length: ${up.length}\r\n\r\n${up}`;
          return { id, size, method, text };
        });
        const pipelined = dice.chance(0.5);
        const writing = pipelined ? write(dice, wire, requests.map(({ text }) => text).join("")) : undefined;
        for (const { id, size, method, text } of requests) {
          if (!pipelined) await write(dice, wire, text);
          let response = await wire.response(method);
          while (response.status === 103) response = await wire.response(method);
          expect([id, response.status, response.value("x-id")]).toEqual([id, 200, id]);
          if (method !== "HEAD") expect(response.body === body(id, size)).toBe(true);
          // An HTTP/1.0 client's connection ends with a body whose end it could not see otherwise.
          if (response.value("connection") === "close") break;
        }
        wire.destroy();
        await writing;
      }
    };
    await Promise.all(Array.from({ length: 6 }, (_, n) => session(n)));
    await quiet();
    expect(proxy.snapshot().total).toMatchObject({ active: 0 });
    expect(Object.keys(proxy.snapshot().total.statuses).filter((status) => status !== "200")).toEqual([]);
  },
  60_000,
);

test.each(READ_MODES.flatMap((mode) => Array.from({ length: SEEDS }, (_, seed) => [mode, seed + 1] as const)))(
  "whatever breaks on either side, what looks whole to a client is whole, and its own (%s, seed %d)",
  async (mode, seed) => {
    const dice = new Dice(seed * 7_000);
    const { proxy, client } = await scene(
      async (wire) => {
        for (;;) {
          const request = await wire.request();
          const [id, size, framing] = request.start.split(" ")[1]!.slice(1).split("/") as [string, string, string];
          const answer = body(id, Number(size));
          const head = `HTTP/1.1 200 OK\r\nX-Id: ${id}\r\n`;
          let text = `${head}\r\n${answer}`;
          if (framing === "length") text = `${head}Content-Length: ${size}\r\n\r\n${answer}`;
          if (framing === "chunked") text = `${head}Transfer-Encoding: chunked\r\n\r\n${chunked(dice, answer)}`;
          const fault = dice.one(["none", "none", "none", "none", "reset", "end", "half", "extra", "garbage", "late"]);
          if (fault === "late") await pause(dice.below(60));
          if (fault === "garbage") text = `\0${text}`;
          if (fault === "extra" && framing !== "close")
            text += `HTTP/1.1 200 OK\r\nX-Id: poison\r\nContent-Length: 6\r\n\r\npoison`;
          const cut = dice.below(text.length);
          // An end is all that a body without framing has: only a reset can break it.
          const whole = framing === "close" ? "reset" : "end";
          if (fault === "reset" || fault === "half") text = text.slice(0, cut);
          if (fault === "end") text = "";
          await write(dice, wire, text);
          if (fault === "reset") return wire.reset();
          if (fault === "half") return wire[whole]();
          if (fault === "end" || framing === "close") return wire.end();
        }
      },
      { mode, upstream: { timeouts: { response: "5s" }, pool: { maxConnections: 6 } } },
    );
    const outcomes = new Map<string, number>();
    const session = async (n: number) => {
      const own = new Dice(seed * 200 + n);
      for (let i = 0; i < 40; i++) {
        const wire = await client();
        for (let j = 0; j < 3; j++) {
          const id = `${n}-${i}-${j}`;
          const size = own.one(SIZES);
          const up = own.chance(0.5) ? body(`up${id}`, own.one(SIZES)) : "";
          const head = `${up === "" ? "GET" : "POST"} /${id}/${size}/${own.one(["length", "chunked", "close"])} HTTP/1.1\r\nHost: a\r\n`;
          const text = up === "" ? `${head}\r\n` : `${head}Content-Length: ${up.length}\r\n\r\n${up}`;
          if (own.chance(0.15)) {
            await write(own, wire, text.slice(0, own.below(text.length)));
            if (own.chance(0.5)) await pause(own.below(10));
            break;
          }
          const writing = write(own, wire, text);
          let outcome: string;
          try {
            const response = await wire.response();
            outcome = String(response.status);
            expect([200, 502]).toContain(response.status);
            expect(response.value("x-id")).toBe(response.status === 200 ? id : undefined);
            if (response.status === 200) {
              const same = response.body === body(id, size);
              expect([id, response.lines, response.body.length, same]).toEqual([id, response.lines, size, true]);
            }
            if (response.value("connection") === "close") break;
          } catch (error) {
            if (!(error instanceof WireEnd)) throw error;
            outcome = "broken off";
            break;
          } finally {
            await Promise.race([writing, wire.rest().catch(() => {})]);
          }
          outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
        }
        if (own.chance(0.5)) wire.reset();
        else wire.destroy();
      }
    };
    await Promise.all(Array.from({ length: 6 }, (_, n) => session(n)));
    expect(outcomes.get("200")).toBeGreaterThan(50);
    expect(outcomes.get("502")).toBeGreaterThan(0);
    await eventually(
      () => {
        const { clientConnections, exchanges, waiting, backends } = proxy.plane.inspect();
        return clientConnections + exchanges + waiting + backends[0]!.busy === 0;
      },
      () => `rest: ${JSON.stringify(proxy.plane.inspect())}`,
    );
    expect(proxy.snapshot().total.active).toBe(0);
    expect(proxy.snapshot().upstreams[0]!.backends[0]!.active).toBe(0);
  },
  60_000,
);
