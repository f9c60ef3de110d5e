import type { RequestKind } from "../support/chaos-requests.ts";
import type { BackendRow, ClientRow } from "./cells.ts";

/** What has to come of a cell. */
export interface Outcome {
  /** What the client saw, answer by answer (`Seen` of the scripted client). */
  readonly client: readonly string[];
  /** How often each backend read the request, whole. */
  readonly read: readonly number[];
  /** What was left over when everybody had gone; nothing is the only thing that may be. */
  readonly left: string;
}

/**
 * What the proxy makes of a fault. `none`: it notices nothing that hurts the exchange; `unconnected`, `late`: there is no
 * connection; `stale`: a kept connection broke before it brought anything, the idle race; `reset`, `timeout`,
 * `malformed`: no answer, and nothing has gone to the client; `503`, `500`: an answer of the backend that is whole, but
 * says that it failed; `truncated`: its answer has begun to go to the client.
 */
type Trouble =
  | "none"
  | "unconnected"
  | "late"
  | "stale"
  | "reset"
  | "timeout"
  | "malformed"
  | "503"
  | "500"
  | "truncated";

const MALFORMED = new Set(["garbage", "too-many-interims", "switch", "endless-head", "bad-head", "bad-chunk-at-once"]);
const HARMLESS = new Set(["trickle", "early", "early-close", "early-reset", "interims"]);

function troubleOf({ phase, fault }: BackendRow): Trouble {
  if (fault === "refuse") return "unconnected";
  if (fault === "deaf") return "late";
  // The answer is whole; what comes behind it concerns the connection alone.
  if (phase === "end") return fault === "too-short" ? "truncated" : "none";
  if (phase === "idle") return "none";
  if (phase === "reused" && (fault === "close" || fault === "reset")) return "stale";
  if (fault === "unavailable") return "503";
  if (fault === "error") return "500";
  if (MALFORMED.has(fault) && !(fault === "garbage" && isAnswering(phase))) return "malformed";
  if (HARMLESS.has(fault)) return "none";
  // Each piece comes in time, but the head as a whole does not.
  if (isAnswering(phase)) return fault === "drip" ? "none" : "truncated";
  return fault === "stall" || fault === "drip" ? "timeout" : "reset";
}

function isAnswering(phase: BackendRow["phase"]): boolean {
  return phase === "after-answer-head" || phase === "amid-answer";
}

/** `retry` of the upstream, as far as it matters here. */
export type Retrying = "default" | "off" | "unsafe";

/**
 * Whether another backend gets the request, where retries are on: what was not sent always, what was sent when its method
 * is idempotent and its body was kept, as long as nothing of an answer has gone to the client. A 500 may be meant.
 */
function movesOn(trouble: Trouble, kind: RequestKind, large: boolean, retrying: Retrying): boolean {
  if (trouble === "none" || trouble === "truncated" || trouble === "500") return false;
  if (retrying === "off") return false;
  if (trouble === "unconnected" || trouble === "late") return true;
  return !large && (kind !== "POST" || retrying === "unsafe");
}

/** RFC 9110 section 15.6: 504 when it took too long, else 502. */
function statusOf(trouble: Trouble): string {
  if (trouble === "500" || trouble === "503") return `${trouble} from a`;
  return trouble === "late" || trouble === "timeout" ? "504" : "502";
}

/** Phases in which the faulty backend has read the whole request. */
const HAS_READ = new Set(["before-answer", "within-head", "after-answer-head", "amid-answer", "end", "idle", "reused"]);

/**
 * What may come of one request when the first backend does this; `second`: there is another one, and it is healthy. It is
 * one outcome, but where a race decides how far the request got.
 */
export function expectedOfBackend(
  row: BackendRow,
  kind: RequestKind,
  second: boolean,
  retrying: Retrying = "default",
): readonly Outcome[] {
  const known = outcomeOf(row, troubleOf(row), kind, second, retrying);
  // The reset may come before the connection is seen to be open.
  const racing = row.phase === "connect" && row.fault === "reset" && second;
  const other = racing ? outcomeOf(row, "unconnected", kind, second, retrying) : known;
  return known.client[0] === other.client[0] ? [known] : [known, other];
}

function outcomeOf(row: BackendRow, trouble: Trouble, kind: RequestKind, second: boolean, retrying: Retrying): Outcome {
  const first = HAS_READ.has(row.phase) ? 1 : 0;
  const outcome = (client: string, ...read: number[]) => ({
    client: [client],
    read: second ? read : [read[0]!],
    left: "",
  });
  if (trouble === "none") return outcome("200 from a", first, 0);
  if (trouble === "truncated") return outcome("cut", first, 0);
  // The backend may have closed before it read anything: it gets it once more, on a new connection. A body that came in
  // pieces, as a PUT's does here, is not written a second time but for a retry.
  if (trouble === "stale" && (kind === "GET" || (kind === "PUT" && retrying !== "off")))
    return outcome("200 from a", 2, 0);
  if (second && movesOn(trouble, kind, row.large, retrying)) return outcome("200 from b", first, 1);
  return outcome(statusOf(trouble), first, 0);
}

/** What has to come of the requests of a client that does this, in front of one healthy backend. */
export function expectedOfClient(row: ClientRow): readonly Outcome[] {
  return [{ client: seenBy(row), read: [deliveredBy(row)], left: "" }];
}

function seenBy({ phase, fault }: ClientRow): readonly string[] {
  const good = "200 from a";
  if (fault === "close" || fault === "reset") return phase === "idle" ? [good, "left"] : ["left"];
  switch (phase) {
    case "connect":
      return fault === "garbage" ? ["400"] : ["closed"];
    case "amid-head":
      if (fault === "half-close") return ["closed"];
      if (fault === "garbage") return ["400"];
      // A head has to be whole in time.
      return fault === "trickle" ? [good] : ["408"];
    case "amid-body":
      if (fault === "half-close") return ["closed"];
      if (fault === "garbage") return ["400"];
      // Of a body, each piece has to come in time.
      return fault === "stall" ? ["408"] : [good];
    case "waiting":
      return [good, fault === "garbage" ? "400" : "closed"];
    case "amid-answer":
      if (fault === "stall") return ["cut"];
      return [good, fault === "garbage" ? "400" : "closed"];
    case "pipelined":
      if (fault === "half-close") return [good, "closed"];
      if (fault === "garbage") return [good, "400"];
      return [good, fault === "trickle" ? good : "408"];
    case "idle":
      return [good, fault === "garbage" ? "400" : "closed"];
  }
}

/** A request that ended before it was whole is not delivered; one that was whole is, once, whatever its client did then. */
function deliveredBy({ phase, fault }: ClientRow): number {
  if (phase === "connect") return 0;
  if (phase === "amid-head") return fault === "trickle" ? 1 : 0;
  if (phase === "amid-body") return fault === "trickle" || fault === "drip" ? 1 : 0;
  return 1;
}
