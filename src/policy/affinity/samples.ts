import { murmur3 } from "../balance/murmur3.ts";
import { sampleBackends, sampleRequest } from "../balance/samples.ts";
import type { Backend } from "../model/backend.ts";
import type { PickRequest } from "../model/request.ts";
import {
  type Affinity,
  type AffinityOptions,
  type CookieOptions,
  createAffinity,
  type SessionSource,
  type SessionStore,
} from "./index.ts";

/** What the cookie is by default. */
export const sampleCookie: CookieOptions = {
  name: "spillway",
  path: "/",
  domain: "",
  secure: "auto",
  httpOnly: true,
  sameSite: "Lax",
  maxAge: true,
};

export const HOUR = 3_600_000;
export const byKey: SessionSource = { kind: "key", key: "header:x-session" };
export const byCookie: SessionSource = { kind: "learned", from: "cookie", name: "SID" };
export const options: AffinityOptions = { by: byKey, ttl: HOUR, maxSessions: 1000, strict: false };
export const [a, b, c] = sampleBackends({ a: 1, b: 1, c: 1 }) as [Backend, Backend, Backend];

/** 22 characters that follow from `text`; anybody can make them. */
export function digest(text: string): string {
  const parts = ["a", "b", "c"].map((salt) => murmur3(`${salt}${text}`).toString(16).padStart(8, "0"));
  return parts.join("").slice(0, 22);
}

/** What it is told, in words. */
export class SampleStore implements SessionStore {
  readonly timeoutMs = 50;
  readonly heard: string[] = [];

  find(): boolean {
    return true;
  }

  forget(): void {}

  place(key: string, address: string, instead: string | undefined): void {
    this.heard.push(`${key} at ${address}${instead === undefined ? "" : ` instead of ${instead}`}`);
  }

  /** What it heard since it was last asked so. */
  take(): string[] {
    return this.heard.splice(0);
  }
}

export function affinityOf(change: Partial<AffinityOptions> = {}, store?: SessionStore): Affinity {
  const affinity = createAffinity({ ...options, ...change }, { upstream: "web", digest, store });
  affinity.update([a, b, c]);
  return affinity;
}

export function requestOf(fields: Readonly<Record<string, string>>, client = "192.0.2.7"): PickRequest {
  return { ...sampleRequest(0), client, header: (name) => fields[name] };
}

/** A request of the session `id`, by field and by cookie. */
export function request(id: string): PickRequest {
  return requestOf({ "x-session": id, cookie: `theme=dark; SID=${id}` });
}

/** Where the session `id` belongs; looking changes nothing. */
export function belongs(affinity: Affinity, id: string, now: number): string | undefined {
  return affinity.peek(request(id), 0, now)?.backend?.id;
}

/** An exchange of the session `id` that the balancer, or its session, sends to `backend`, and that is answered there. */
export function served(affinity: Affinity, id: string, backend: Backend, now: number, learnt = "") {
  const session = affinity.open(request(id), 0, now);
  if (session !== undefined) affinity.place(session, backend, now);
  return affinity.answered(session, backend, learnt, 0, now);
}
