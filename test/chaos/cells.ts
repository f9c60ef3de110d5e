import type { BackendFault, BackendPhase, BackendPlan } from "../support/chaos-backend.ts";
import type { ClientFault, ClientPhase, ClientPlan } from "../support/chaos-client.ts";
import type { Framing, RequestKind } from "../support/chaos-requests.ts";

/** One row of the matrix on the side of backends: what the first backend does on its first connection. */
export interface BackendRow extends BackendPlan {
  /** The request body is larger than what may be kept to be sent again. */
  readonly large: boolean;
}

/** One row on the side of clients: the backend is healthy. */
export type ClientRow = ClientPlan;

const BEFORE_THE_ANSWER = ["close", "reset", "stall", "garbage"] as const;

function rows(phase: BackendPhase, faults: readonly BackendFault[], framing: Framing = "length"): BackendRow[] {
  return faults.map((fault) => ({ phase, fault, framing, large: false }));
}

/*
 * What is not in here cannot be told from a good answer by anybody: garbage within a Content-Length is data, and a body
 * without a length ends where its connection does.
 */
export const BACKEND_ROWS: readonly BackendRow[] = [
  ...rows("connect", ["refuse", "deaf", ...BEFORE_THE_ANSWER]),
  ...rows("unread", BEFORE_THE_ANSWER),
  ...rows("after-head", [...BEFORE_THE_ANSWER, "early", "early-close", "early-reset"]),
  ...rows("amid-upload", [...BEFORE_THE_ANSWER, "early", "early-close", "early-reset"]),
  ...rows("amid-upload", ["close", "reset", "stall"]).map((row) => ({ ...row, large: true })),
  ...rows("before-answer", [
    ...BEFORE_THE_ANSWER,
    "trickle",
    "drip",
    "interims",
    "too-many-interims",
    "switch",
    "unavailable",
    "error",
  ]),
  ...rows("within-head", ["close", "reset", "stall", "bad-head", "endless-head", "trickle", "drip"]),
  ...rows("after-answer-head", ["close", "reset", "stall", "trickle", "drip"]),
  ...rows(
    "after-answer-head",
    ["close", "reset", "stall", "garbage", "trickle", "drip", "bad-chunk-at-once"],
    "chunked",
  ),
  ...rows("after-answer-head", ["reset", "stall", "trickle", "drip"], "close"),
  ...rows("amid-answer", ["close", "reset", "stall", "trickle", "drip"]),
  ...rows(
    "amid-answer",
    ["close", "reset", "stall", "garbage", "bad-chunk", "bad-chunk-end", "trickle", "drip"],
    "chunked",
  ),
  ...rows("amid-answer", ["reset", "stall", "trickle", "drip"], "close"),
  ...rows("end", ["close", "reset", "too-short", "too-long", "second-answer"]),
  ...rows("idle", ["close", "reset", "garbage", "second-answer"]),
  ...rows("reused", ["close", "reset", "stall", "garbage"]),
];

/** Whether a request of this kind gets into that phase: a GET has no body. */
export function backendRowApplies({ phase, large }: BackendRow, kind: RequestKind): boolean {
  return kind !== "GET" || !(phase === "after-head" || phase === "amid-upload" || large);
}

const CLIENT_FAULTS_IN: Readonly<Record<ClientPhase, readonly ClientFault[]>> = {
  connect: ["close", "reset", "half-close", "stall", "garbage"],
  "amid-head": ["close", "reset", "half-close", "stall", "trickle", "drip", "garbage"],
  "amid-body": ["close", "reset", "half-close", "stall", "trickle", "drip", "garbage"],
  waiting: ["close", "reset", "half-close", "garbage"],
  "amid-answer": ["close", "reset", "half-close", "stall", "garbage"],
  pipelined: ["close", "reset", "half-close", "stall", "trickle", "drip", "garbage"],
  idle: ["close", "reset", "half-close", "stall", "garbage"],
};

export const CLIENT_ROWS: readonly ClientRow[] = Object.entries(CLIENT_FAULTS_IN).flatMap(([phase, faults]) =>
  faults.map((fault) => ({ phase: phase as ClientPhase, fault })),
);

/** A GET has no body, and garbage within a Content-Length is data. */
export function clientRowApplies({ phase, fault }: ClientRow, kind: RequestKind): boolean {
  if (phase !== "amid-body") return true;
  return kind === "PUT" || (kind === "POST" && fault !== "garbage");
}

const BACKEND_PHASE_WORDS: Readonly<Record<BackendPhase, string>> = {
  connect: "at the connect",
  unread: "before it reads the request",
  "after-head": "after the request's head",
  "amid-upload": "amid the request's body",
  "before-answer": "before its answer",
  "within-head": "within the head of its answer",
  "after-answer-head": "between head and body",
  "amid-answer": "amid the body of its answer",
  end: "at the end of its answer",
  idle: "while its connection is idle",
  reused: "when a kept connection brings the next request",
};

const FRAMING_WORDS: Readonly<Record<Framing, string>> = {
  length: "",
  chunked: " (chunks)",
  close: " (until the connection ends)",
};

const BACKEND_FAULT_WORDS: Readonly<Record<BackendFault, string>> = {
  refuse: "refuses the connection",
  deaf: "does not answer the connect",
  close: "closes",
  reset: "resets",
  stall: "stands still",
  trickle: "goes on byte by byte",
  drip: "goes on slowly, beyond the timeout",
  garbage: "sends garbage",
  early: "answers, and reads on",
  "early-close": "answers and closes",
  "early-reset": "answers and resets",
  interims: "sends 100 interim responses",
  "too-many-interims": "sends 101 interim responses",
  switch: "switches protocols unasked",
  unavailable: "answers 503",
  error: "answers 500",
  "endless-head": "never ends its head",
  "bad-head": "sends a head that is malformed",
  "bad-chunk": "sends a chunk without size",
  "bad-chunk-end": "sends a chunk longer than it says",
  "bad-chunk-at-once": "sends a chunk without size along with the head",
  "too-short": "sends less than its Content-Length",
  "too-long": "sends more than its Content-Length",
  "second-answer": "sends an answer that nobody asked for",
};

const CLIENT_PHASE_WORDS: Readonly<Record<ClientPhase, string>> = {
  connect: "before its request",
  "amid-head": "amid the head of its request",
  "amid-body": "amid the body of its request",
  waiting: "while it waits for the answer",
  "amid-answer": "amid the answer",
  pipelined: "amid a second request behind the first",
  idle: "after the answer",
};

const CLIENT_FAULT_WORDS: Readonly<Record<ClientFault, string>> = {
  close: "leaves",
  reset: "resets",
  "half-close": "ends its side",
  stall: "stands still",
  trickle: "goes on byte by byte",
  drip: "goes on slowly, beyond the timeout",
  garbage: "sends garbage",
};

/** A row in words: when, and what. */
export function backendWords({ phase, fault, framing, large }: BackendRow): readonly [string, string] {
  return [BACKEND_PHASE_WORDS[phase] + FRAMING_WORDS[framing] + (large ? " (6 MiB)" : ""), BACKEND_FAULT_WORDS[fault]];
}

export function clientWords({ phase, fault }: ClientRow): readonly [string, string] {
  return [CLIENT_PHASE_WORDS[phase], CLIENT_FAULT_WORDS[fault]];
}
