import { createHmac } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { sampleBackends, sampleRequest } from "../balance/samples.ts";
import type { Backend } from "../model/backend.ts";
import type { PickRequest } from "../model/request.ts";
import { type Affinity, createAffinity } from "./index.ts";
import type { AffinityOptions } from "./options.ts";
import { sampleCookie } from "./samples.ts";

const HOUR = 3_600_000;
const MINUTE = 60_000;
const wallMs = Date.UTC(2026, 10, 24);
const cookie = sampleCookie;
const options: AffinityOptions = { by: { kind: "cookie", cookie }, ttl: HOUR, maxSessions: 1, strict: false };

function digestBy(key: string): (text: string) => string {
  return (text) => createHmac("sha256", key).update(text).digest().subarray(0, 16).toString("base64url");
}

function affinityOf(backends: readonly Backend[], upstream = "web", key = "0123456789abcdef"): Affinity {
  const affinity = createAffinity(options, { upstream, digest: digestBy(key) });
  affinity.update(backends);
  return affinity;
}

const [a, b] = sampleBackends({ a: 1, b: 1 }) as [Backend, Backend];
const affinity = affinityOf([a, b]);

function requestWith(field: string | undefined): PickRequest {
  return { ...sampleRequest(0), header: (name) => (name === "cookie" ? field : undefined) };
}

/** The Cookie field of a client that `backend` answered at `time`. */
function cookieFrom(backend: Backend, time = wallMs, of = affinity): string {
  return of.setCookie(undefined, backend, false, time).split(";")[0]!;
}

/** Which backend a client with this Cookie field belongs to. */
function belongs(field: string | undefined, time = wallMs, of = affinity): string | undefined {
  return of.open(requestWith(field), time, 0)!.backend?.id;
}

test("an answered client gets a cookie that brings it back, and tells nothing", () => {
  const session = affinity.open(requestWith(undefined), wallMs, 0)!;
  expect([session.backend, session.key]).toEqual([undefined, ""]);
  expect(affinity.answered(session, a, "", wallMs, 0)).toBe("begun");
  const field = affinity.setCookie(session, a, false, wallMs);
  expect(field).toMatch(/^spillway=[\w-]{22}\.mwtxhc00; Path=\/; Max-Age=3600; HttpOnly; SameSite=Lax$/);
  expect(field).not.toContain("a.test");
  const own = field.split(";")[0]!;
  expect(affinity.open(requestWith(`theme=dark; ${own}; x=1`), wallMs + 1, 0)!.backend).toBe(a);
});

test("a client that comes back to its backend is kept, and gets no other cookie", () => {
  const session = affinity.open(requestWith(cookieFrom(a)), wallMs + 1, 0);
  expect(affinity.answered(session, a, "", wallMs, 0)).toBe("kept");
  expect(affinity.setCookie(session, a, false, wallMs + 1)).toBe("");
});

test("a client that another backend answers has moved there", () => {
  const session = affinity.open(requestWith(cookieFrom(a)), wallMs + 1, 0);
  expect(affinity.answered(session, b, "", wallMs, 0)).toBe("moved");
  expect(belongs(affinity.setCookie(session, b, false, wallMs + 1).split(";")[0])).toBe("b");
});

test("to look is to open, as nothing is remembered", () => {
  expect(affinity.peek(requestWith(cookieFrom(a)), wallMs, 0)!.backend).toBe(a);
  expect([affinity.figures, affinity.store, affinity.learnsFrom]).toEqual([undefined, undefined, undefined]);
  expect(affinity.wakeAtMs).toBe(Number.POSITIVE_INFINITY);
});

describe("the time to live", () => {
  test("ends a session to the millisecond", () => {
    const own = cookieFrom(a, wallMs);
    expect(belongs(own, wallMs + HOUR - 1)).toBe("a");
    expect(belongs(own, wallMs + HOUR)).toBeUndefined();
    const session = affinity.open(requestWith(own), wallMs + HOUR, 0);
    expect(affinity.answered(session, b, "", wallMs + HOUR, 0)).toBe("begun");
  });

  test("slides: the cookie is made anew when a tenth of it has passed", () => {
    const own = cookieFrom(a, wallMs);
    const anew = (later: number) => {
      const session = affinity.open(requestWith(own), wallMs + later, 0);
      expect(affinity.answered(session, a, "", wallMs + later, 0)).toBe("kept");
      return affinity.setCookie(session, a, false, wallMs + later);
    };
    expect(anew(HOUR / 10 - 1)).toBe("");
    expect(belongs(anew(HOUR / 10).split(";")[0], wallMs + HOUR + HOUR / 10 - 1)).toBe("a");
  });

  test("is not stretched by a clock that runs ahead, nor broken by one that does so by seconds", () => {
    const own = cookieFrom(a, wallMs);
    const anew = (ahead: number) => {
      const session = affinity.open(requestWith(own), wallMs - ahead, 0)!;
      expect(session.backend).toBe(a);
      return affinity.setCookie(session, a, false, wallMs - ahead);
    };
    expect(anew(MINUTE)).toBe("");
    expect(anew(MINUTE + 1)).not.toBe("");
  });

  test.each(["ZZZ", "0", "00", "x y", "zzzzzzzzz"])("starts anew for a cookie whose time is %s", (time) => {
    const own = `${cookieFrom(a).split(".")[0]}.${time}`;
    const session = affinity.open(requestWith(own), time === "0" ? 1 + HOUR / 10 : wallMs, 0)!;
    expect(session.backend).toBe(a);
    expect(affinity.setCookie(session, a, false, wallMs)).toBe(affinity.setCookie(undefined, a, false, wallMs));
  });
});

describe("a cookie that is none of its own names no backend", () => {
  const own = cookieFrom(a);
  const [, token = "", time = ""] = /=(.*)\.(.*)/.exec(own)!;
  const flipped = [...token].map((char, i) => token.slice(0, i) + (char === "A" ? "B" : "A") + token.slice(i + 1));

  test.each([
    ["forged", `spillway=AAAAAAAAAAAAAAAAAAAAAA.${time}`],
    ["an address", "spillway=a.test:80"],
    ["an address as long as a cookie", `spillway=${"a.test:80".padEnd(22, "A")}.${time}`],
    ["truncated", own.slice(0, 20)],
    ["without its time", `spillway=${token}`],
    ["with a character lost", own.replace(token, token.slice(1))],
    ["in quotes", `spillway="${token}.${time}"`],
    ["empty", "spillway="],
    ["of another name", own.replace("spillway", "Spillway")],
    ["8 KiB", `spillway=${"A".repeat(8192)}`],
    ["8 KiB behind the right beginning", `${own}${"0".repeat(8192)}`],
    ["bytes", "spillway=\u0000\u00ff\u0080.\u0000"],
    ["__proto__", `spillway=${"__proto__".padEnd(22, "_")}.${time}`],
    ["of another upstream", cookieFrom(a, wallMs, affinityOf([a, b], "api"))],
    ["of another key", cookieFrom(a, wallMs, affinityOf([a, b], "web", "fedcba9876543210"))],
    [
      "of a backend that is gone",
      cookieFrom(sampleBackends({ c: 1 })[0]!, wallMs, affinityOf(sampleBackends({ c: 1 }))),
    ],
  ])("%s", (_what, field) => {
    const session = affinity.open(requestWith(field), wallMs, 0)!;
    expect(session.backend).toBeUndefined();
    expect(affinity.answered(session, b, "", wallMs, 0)).toBe("begun");
    expect(belongs(affinity.setCookie(session, b, false, wallMs).split(";")[0])).toBe("b");
  });

  test("any character flipped", () => {
    expect(flipped.map((token) => belongs(`spillway=${token}.${time}`))).toEqual(flipped.map(() => undefined));
  });

  test("whatever a client makes up", () => {
    const text = fc.string({ unit: "binary", maxLength: 100 });
    const made = fc.oneof(
      text,
      text.map((text) => `spillway=${text}`),
      fc.string({ unit: "grapheme-ascii", minLength: 22, maxLength: 22 }).map((made) => `spillway=${made}.${time}`),
    );
    fc.assert(
      fc.property(made, (field) => {
        expect(belongs(field)).toBeUndefined();
      }),
      { numRuns: 500 },
    );
  });
});

test("of two cookies of its name the first counts", () => {
  expect(belongs(`${cookieFrom(a)}; ${cookieFrom(b)}`)).toBe("a");
});

test("two instances with one key understand each other", () => {
  expect(belongs(cookieFrom(a), wallMs, affinityOf([a, b]))).toBe("a");
});

test.each([
  ["auto", false, false],
  ["auto", true, true],
  [true, false, true],
  [false, true, false],
] as const)("with secure: %j, by TLS: %j, the cookie is Secure: %j", (secure, byTls, isSecure) => {
  const by = { kind: "cookie", cookie: { ...cookie, secure } } as const;
  const affinity = createAffinity({ ...options, by }, { upstream: "web", digest: digestBy("k") });
  affinity.update([a]);
  expect(affinity.setCookie(undefined, a, byTls, wallMs).endsWith("; Secure")).toBe(isSecure);
});

describe("when the members change", () => {
  test("sessions go to the backend that has the address now", () => {
    const affinity = affinityOf([a, b]);
    const own = cookieFrom(a, wallMs, affinity);
    const session = affinity.open(requestWith(own), wallMs, 0);
    const [anew] = sampleBackends({ a: 5 });
    affinity.update([anew!]);
    expect(affinity.open(requestWith(own), wallMs, 0)!.backend).toBe(anew);
    expect(affinity.answered(session, anew!, "", wallMs, 0)).toBe("kept");
    expect(affinity.setCookie(session, anew!, false, wallMs)).toBe("");
  });

  test("a backend that was removed while it answered gets no session, and takes none away", () => {
    const affinity = affinityOf([a, b]);
    const [nobodys, its] = [undefined, cookieFrom(b, wallMs, affinity)].map(
      (field) => affinity.open(requestWith(field), wallMs, 0)!,
    );
    affinity.update([b]);
    expect([affinity.answered(nobodys, a, "", wallMs, 0), affinity.setCookie(nobodys, a, false, wallMs)]).toEqual([
      undefined,
      "",
    ]);
    expect([affinity.answered(its, a, "", wallMs, 0), affinity.setCookie(its, a, false, wallMs)]).toEqual([
      undefined,
      "",
    ]);
  });

  test("of two with one address the first is meant", () => {
    const [first, second] = [...sampleBackends({ a: 1 }), ...sampleBackends({ a: 1 })];
    const affinity = affinityOf([first!, second!]);
    const own = cookieFrom(second!, wallMs, affinity);
    expect(affinity.open(requestWith(own), wallMs, 0)!.backend).toBe(first);
  });
});
