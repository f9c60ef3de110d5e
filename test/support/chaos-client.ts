import { type Cues, settled } from "./chaos-cue.ts";
import { DRIP_MS, inPieces, singly } from "./chaos-pace.ts";
import { downloadOf, type RequestKind, requestOf, whole } from "./chaos-requests.ts";
import { type Message, pause, turn, type Wire, WireEnd } from "./wire.ts";

/** When a client does it. `pipelined`: within the head of a second request, while the first one waits for its answer. */
export const CLIENT_PHASES = [
  "connect",
  "amid-head",
  "amid-body",
  "waiting",
  "amid-answer",
  "pipelined",
  "idle",
] as const;
export type ClientPhase = (typeof CLIENT_PHASES)[number];

export const CLIENT_FAULTS = ["close", "reset", "half-close", "stall", "trickle", "drip", "garbage"] as const;
export type ClientFault = (typeof CLIENT_FAULTS)[number];

export interface ClientPlan {
  readonly phase: ClientPhase;
  readonly fault: ClientFault;
}

const GARBAGE = "\x00\x7f*** this is no HTTP ***\r\n\r\n";

/**
 * What a client saw of one answer: `200 from NAME` (or what status a backend gave), a status of the proxy's own, `cut` for an answer that ended early, `closed` for
 * a connection that ended instead of an answer, or what must never be, in capitals.
 */
export type Seen = string;

/** Reads the answer to the request with this id; what must not be in it is named. */
export async function see(wire: Wire, kind: RequestKind, id: string, size?: number): Promise<Seen> {
  return (await answerTo(wire, kind, id, size)).seen;
}

/** The same, with whether another request may follow on the connection. */
export async function answerTo(
  wire: Wire,
  kind: RequestKind,
  id: string,
  size?: number,
): Promise<{ readonly seen: Seen; readonly last: boolean }> {
  let began = wire.pending.length > 0;
  const note = () => {
    began = true;
  };
  wire.socket.on("data", note);
  try {
    let response = await wire.response(kind);
    while (response.status < 200) response = await wire.response(kind);
    return { seen: nameOf(response, id, size), last: response.value("connection") === "close" };
  } catch (error) {
    if (error instanceof WireEnd) return { seen: began ? "cut" : "closed", last: true };
    throw error;
  } finally {
    wire.socket.off("data", note);
  }
}

function nameOf(response: Message, id: string, size: number | undefined): Seen {
  const about = response.value("x-id");
  if ((response.value("content-length") ?? response.value("transfer-encoding")) === undefined) return "WITHOUT AN END";
  if (about === undefined) return response.status === 200 ? "A 200 FROM NOBODY" : String(response.status);
  if (about !== id) return `THE ANSWER TO ${about}`;
  if (response.body !== downloadOf(id, size)) return "A WRONG BODY";
  return `${response.status} from ${response.value("x-backend")}`;
}

/** Sends one request as `plan` says and says what it saw, answer by answer; `left` when it did not stay to see. */
export async function misbehave(
  wire: Wire,
  plan: ClientPlan | undefined,
  {
    kind,
    id,
    size,
    cues,
  }: { readonly kind: RequestKind; readonly id: string; readonly size?: number; readonly cues: Cues },
): Promise<Seen[]> {
  const request = requestOf(kind, id);
  const text = whole(request);
  const phase = plan?.phase;
  const fault = plan?.fault;

  if (phase === "connect") {
    if (await act(wire, fault!, text)) return answers();
  } else if (phase === "amid-head") {
    const half = Math.floor(request.head.length / 2);
    wire.write(text.slice(0, half));
    await settled();
    if (await act(wire, fault!, request.head.slice(half))) return answers();
    wire.write(request.firstHalf + request.secondHalf);
  } else if (phase === "amid-body") {
    wire.write(request.head + request.firstHalf);
    await settled();
    if (await act(wire, fault!, request.secondHalf)) return answers();
  } else {
    wire.write(text);
  }
  if (phase === "waiting") {
    await cues.arrived.within(cues.patienceMs);
    const over = await act(wire, fault!, "");
    cues.released.give();
    if (over) return answers();
  }
  if (phase === "amid-answer") {
    while (wire.pending === "" && !wire.ended && !wire.closed) await turn();
    if (fault === "stall") {
      wire.socket.pause();
      cues.released.give();
      await pause(STANDS_STILL_MS);
      wire.socket.resume();
    } else {
      const over = await act(wire, fault!, "");
      cues.released.give();
      if (over) return answers();
    }
  }
  if (phase === "pipelined") {
    await cues.arrived.within(cues.patienceMs);
    const next = whole(requestOf("GET", `${id}-next`));
    const half = Math.floor(next.length / 2);
    wire.write(next.slice(0, half));
    await settled();
    const acting = act(wire, fault!, next.slice(half));
    await settled();
    cues.released.give();
    await acting;
    return answers();
  }
  if (phase === "idle") {
    const first = await see(wire, kind, id, size);
    await act(wire, fault!, "");
    return [first, ...(await answers())];
  }
  return answers();

  /** Everything that comes until the connection ends, or nothing is owed any more. */
  async function answers(): Promise<Seen[]> {
    if (wire.socket.destroyed) return ["left"];
    const seen: Seen[] = phase === "idle" ? [] : [await see(wire, kind, id, size)];
    if (seen[0] === "closed" || seen[0] === "cut") return seen;
    if (!expectsMore(phase, fault)) return seen;
    seen.push(await see(wire, "GET", `${id}-next`, size));
    return seen;
  }
}

/** Beyond every timeout of a proxy under test. */
const STANDS_STILL_MS = 1_200;

/** Whether something comes behind the answer: a second answer, a refusal, or at least the end of the connection. */
function expectsMore(phase: ClientPhase | undefined, fault: ClientFault | undefined): boolean {
  if (phase === "idle" || phase === "pipelined") return true;
  if (fault === "half-close") return true;
  return fault === "garbage" && (phase === "waiting" || phase === "amid-answer");
}

/** Does it; `rest` is what the client would have sent. True when it sends nothing more. */
async function act(wire: Wire, fault: ClientFault, rest: string): Promise<boolean> {
  switch (fault) {
    case "close":
      wire.destroy();
      return true;
    case "reset":
      wire.reset();
      return true;
    case "half-close":
      wire.end();
      return true;
    case "garbage":
      wire.write(GARBAGE);
      return true;
    case "stall":
      return true;
    case "trickle":
      for (const piece of singly(rest)) {
        if (wire.ended || wire.closed) break;
        wire.write(piece);
        await turn();
      }
      return false;
    case "drip":
      for (const piece of inPieces(rest)) {
        if (wire.ended || wire.closed) break;
        wire.write(piece);
        await pause(DRIP_MS);
      }
      return false;
  }
}
