import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { type Cues, settled } from "./chaos-cue.ts";
import { DRIP_MS, inPieces, singly } from "./chaos-pace.ts";
import { type Arrival, arrivals, type Framing, idIn, responseOf, whole } from "./chaos-requests.ts";
import { pause, turn, Wire, WireEnd } from "./wire.ts";

/**
 * When a backend does it. `unread`: the request lies there and is not read; `idle`: after a first exchange, before the next
 * request comes; `reused`: when the next request has come on that connection.
 */
export const BACKEND_PHASES = [
  "connect",
  "unread",
  "after-head",
  "amid-upload",
  "before-answer",
  "within-head",
  "after-answer-head",
  "amid-answer",
  "end",
  "idle",
  "reused",
] as const;
export type BackendPhase = (typeof BACKEND_PHASES)[number];

/** What a backend does. */
export const BACKEND_FAULTS = [
  "refuse",
  "deaf",
  "close",
  "reset",
  "stall",
  "trickle",
  "drip",
  "garbage",
  "early",
  "early-close",
  "early-reset",
  "interims",
  "too-many-interims",
  "switch",
  "unavailable",
  "error",
  "endless-head",
  "bad-head",
  "bad-chunk",
  "bad-chunk-end",
  "bad-chunk-at-once",
  "too-short",
  "too-long",
  "second-answer",
] as const;
export type BackendFault = (typeof BACKEND_FAULTS)[number];

/** One thing that a backend does, on its first connection; later ones are served. */
export interface BackendPlan {
  readonly phase: BackendPhase;
  readonly fault: BackendFault;
  readonly framing: Framing;
}

/** How a backend that does nothing wrong answers. */
export interface Service {
  /** It answers when `released` is given. */
  readonly hold?: "answer" | "half";
  readonly size?: number;
}

export interface ChaosBackend {
  readonly name: string;
  readonly url: string;
  /** Connections open now. */
  readonly open: number;
  /** Every request that it read, or began to read, on all connections. */
  arrivals(): Arrival[];
  /** What went wrong in its script. */
  readonly errors: unknown[];
  /** Connections that it left standing are read, so that it notices when the proxy has closed them. */
  letGo(): void;
  close(): Promise<void>;
}

const GARBAGE = "\x00\x7f*** this is no HTTP ***\r\n\r\n";
const INTERIM = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
/** What the proxy passes on of these. */
const MOST_INTERIMS = 100;
/** Nobody listens there on loopback, and nobody will: ports that were free a moment ago are soon taken by others. */
const NOBODYS_PORT = 1;

/** A backend that serves every request but for `plan`. */
export async function chaosBackend(
  name: string,
  cues: Cues,
  plan: BackendPlan | undefined,
  service: Service = {},
): Promise<ChaosBackend> {
  const records: Connection[] = [];
  const errors: unknown[] = [];
  const server: Server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    const record: Connection = { wire: socket, bytes: "", over: false };
    const first = records.push(record) === 1;
    socket.on("error", () => {});
    const script = new Script(socket, record, { name, cues, service, plan: first ? plan : undefined });
    script
      .run()
      .catch((error: unknown) => {
        if (!(error instanceof WireEnd)) errors.push(error);
      })
      .then(() => script.wait());
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      for (const { wire } of records) wire.destroy();
    });
  return {
    name,
    url: `http://127.0.0.1:${plan?.fault === "refuse" ? NOBODYS_PORT : port}`,
    get open() {
      return records.filter(({ wire }) => !wire.destroyed).length;
    },
    arrivals: () => records.flatMap(({ bytes }) => arrivals(bytes)),
    errors,
    letGo: () => {
      for (const record of records) {
        record.over = true;
        const { wire } = record;
        if (wire.readableEnded) wire.destroy();
        else wire.resume().once("end", () => wire.destroy());
      }
    },
    close,
  };
}

/** One connection, with what its backend read from it. */
interface Connection {
  readonly wire: Socket;
  bytes: string;
  /** What is read from now on is thrown away. */
  over: boolean;
}

interface Part {
  readonly name: string;
  readonly cues: Cues;
  readonly service: Service;
  readonly plan: BackendPlan | undefined;
}

/** What happens on one connection. */
class Script {
  readonly #socket: Socket;
  readonly #record: Connection;
  readonly #part: Part;
  readonly #plan: BackendPlan | undefined;
  #wire: Wire | undefined;
  #standing = false;
  #pace: "at-once" | "trickle" | "drip" = "at-once";

  constructor(socket: Socket, record: Connection, part: Part) {
    this.#socket = socket;
    this.#record = record;
    this.#part = part;
    this.#plan = part.plan;
  }

  async run(): Promise<void> {
    if (await this.#strike("connect")) return;
    if (this.#plan?.phase === "unread") {
      await settled();
      await this.#strike("unread");
      return;
    }
    this.#read();
    if (this.#plan === undefined) return this.#serve();
    if (this.#plan.phase === "idle" || this.#plan.phase === "reused") {
      await this.#serveOne();
      if (this.#plan.phase === "reused") await this.#request();
      // The client has its answer before anything happens.
      else await settled();
      await this.#strike(this.#plan.phase);
      return;
    }
    await this.#serveWith(this.#plan);
  }

  /** The script is over: the connection closes when its other side does. */
  async wait(): Promise<void> {
    if (this.#wire === undefined || this.#standing) return;
    await this.#wire.gone(60_000).catch(() => {});
  }

  #read(): Wire {
    if (this.#wire !== undefined) return this.#wire;
    this.#socket.on("data", (piece) => {
      if (!this.#record.over) this.#record.bytes += piece;
    });
    this.#wire = new Wire(this.#socket);
    this.#socket.resume();
    return this.#wire;
  }

  async #serve(): Promise<void> {
    for (;;) await this.#serveOne();
  }

  async #serveOne(): Promise<void> {
    const { name, service, cues } = this.#part;
    const id = await this.#request();
    cues.arrived.give();
    const answer = responseOf(id, name, "length", service.size);
    if (service.hold === "answer") await cues.released.within(cues.patienceMs);
    if (service.hold !== "half") {
      this.#wire!.write(whole(answer));
      return;
    }
    this.#wire!.write(answer.head + answer.firstHalf);
    await cues.released.within(cues.patienceMs);
    this.#wire!.write(answer.secondHalf);
  }

  async #request(): Promise<string> {
    return idIn(`${(await this.#wire!.request()).start}\r\n`);
  }

  /** One exchange in its steps, with what is planned between two of them. */
  async #serveWith({ phase, fault, framing }: BackendPlan): Promise<void> {
    const wire = this.#wire!;
    const { name, service } = this.#part;
    const head = await wire.until("\r\n\r\n");
    const id = idIn(head);
    const answer = responseOf(id, name, framing, service.size);
    if (await this.#strike("after-head", whole(answer))) return;
    if (!head.startsWith("GET")) {
      while (wire.pending === "" && !wire.ended && !wire.closed) await turn();
      if (await this.#strike("amid-upload", whole(answer))) return;
    }
    const length = /\r\ncontent-length: (\d+)\r\n/i.exec(head)?.[1];
    if (length !== undefined) await wire.read(Number(length));
    else if (!head.startsWith("GET")) await wire.until("\r\n0\r\n\r\n");
    this.#part.cues.arrived.give();
    if (await this.#strike("before-answer", whole(answer))) {
      // These are answers, and its connection is kept.
      return fault === "unavailable" || fault === "error" ? this.#serve() : undefined;
    }
    const half = answer.head.indexOf("X-Backend");
    if (phase === "within-head") {
      await this.#write(answer.head.slice(0, half));
      if (await this.#strike("within-head")) return;
      await this.#write(answer.head.slice(half));
    } else if (fault === "bad-chunk-at-once") {
      await this.#write(`${answer.head}zz\r\nbad\r\n0\r\n\r\n`);
      this.#part.cues.struck.give();
      return;
    } else if (fault === "too-short") {
      await this.#write(`${answer.head}${answer.firstHalf}`);
      this.#part.cues.struck.give();
      return;
    } else {
      await this.#write(answer.head);
    }
    if (await this.#strike("after-answer-head")) return;
    await this.#write(answer.firstHalf);
    if (await this.#strike("amid-answer")) return;
    const ending = phase === "end";
    if (ending) this.#socket.cork();
    await this.#write(answer.secondHalf);
    const over = await this.#strike("end");
    if (ending) this.#socket.uncork();
    if (over) return;
    if (framing === "close") return this.#socket.destroySoon();
    await this.#serve();
  }

  /** Does what is planned for this phase; true when nothing comes after it. */
  async #strike(phase: BackendPhase, answer = ""): Promise<boolean> {
    const plan = this.#plan;
    if (plan?.phase !== phase) return false;
    // What was written before is there before this happens.
    if (phase !== "connect" && phase !== "end") await settled();
    // One that ends with the connection only.
    if (plan.fault === "endless-head") this.#part.cues.struck.give();
    const over = await this.#do(plan.fault, answer);
    if (phase !== "end") await settled();
    this.#part.cues.struck.give();
    return over;
  }

  async #do(fault: BackendFault, answer: string): Promise<boolean> {
    const socket = this.#socket;
    switch (fault) {
      case "close":
        socket.uncork();
        socket.destroy();
        return true;
      case "reset":
        socket.uncork();
        socket.resetAndDestroy();
        return true;
      case "garbage":
        this.#put(GARBAGE);
        return true;
      case "trickle":
      case "drip":
        this.#pace = fault;
        return false;
      case "early":
        this.#put(answer);
        return true;
      case "early-close":
        this.#put(answer);
        socket.destroy();
        return true;
      case "early-reset":
        this.#put(answer);
        socket.resetAndDestroy();
        return true;
      case "interims":
        this.#put(INTERIM.repeat(MOST_INTERIMS));
        return false;
      case "too-many-interims":
        this.#put(INTERIM.repeat(MOST_INTERIMS + 1));
        return false;
      case "switch":
        this.#put("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chaos\r\n\r\n");
        return true;
      case "unavailable":
        this.#put(answer.replace("200 OK", "503 Busy"));
        return true;
      case "error":
        this.#put(answer.replace("200 OK", "500 Oops"));
        return true;
      case "bad-head":
        this.#put("Content-Length : 5\r\n\r\nhello");
        return true;
      case "endless-head":
        while (!socket.destroyed && this.#wire?.ended !== true) {
          socket.write(`X: ${"x".repeat(4000)}\r\n`);
          await turn();
        }
        return true;
      case "bad-chunk":
        this.#put("zz\r\nbad\r\n0\r\n\r\n");
        return true;
      case "bad-chunk-end":
        this.#put("4\r\ngoodbad\r\n0\r\n\r\n");
        return true;
      case "too-long":
        this.#put("and more than was promised");
        return true;
      case "second-answer":
        this.#put(whole(responseOf("nobody", this.#part.name, "length")));
        return true;
      default:
        // It stands still, with its connection open, and reads nothing.
        socket.pause();
        this.#standing = true;
        return true;
    }
  }

  #put(text: string): void {
    this.#socket.write(text, "latin1");
  }

  async #write(text: string): Promise<void> {
    if (this.#pace === "at-once") {
      this.#put(text);
      return;
    }
    for (const piece of this.#pace === "trickle" ? singly(text) : inPieces(text)) {
      if (this.#socket.destroyed) return;
      this.#put(piece);
      await (this.#pace === "trickle" ? turn() : pause(DRIP_MS));
    }
  }
}
