import { describe, expect, test } from "vitest";
import type { Delivery } from "../isolation/cast.ts";
import { ok } from "../support/raw-backend.ts";
import { eventually, type Wire } from "../support/wire.ts";
import { type Crowd, cookieOf, crowd, KINDS, type Kind, kindOf, stoppedTime, Visitor } from "./visitors.ts";

const SWITCHED = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n";

/** Two backends in turns whose tunnels echo each byte with their place in front, and a visitor at home on the first. */
async function echoes(kind: Kind, affinity: object = {}): Promise<Crowd & { readonly guest: Visitor }> {
  const all = await crowd(kind, {
    visitors: 2,
    connections: 1,
    weights: [1, 1],
    affinity,
    upstream: { balance: "round-robin" },
  });
  await all.rounds(1);
  all.company.act = async ({ backend, request, wire }: Delivery) => {
    const fields = kind.application?.(request) ?? [];
    if (request.value("upgrade") === undefined) return ok(String(backend), fields);
    wire.write(`${SWITCHED}${fields.map((line) => `${line}\r\n`).join("")}\r\n`);
    for (;;) wire.write(`${backend}${await wire.read(1)}`);
  };
  const guest = all.visitors.find(({ served }) => served[0] === 0)!;
  return { ...all, guest };
}

/** A tunnel of a visitor. */
async function open({ stage }: Crowd, kind: Kind, visitor: Visitor) {
  const wire = await stage.client();
  wire.write(kind.request(visitor).replace("\r\n\r\n", "\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"));
  const response = await wire.response();
  expect(response.status).toBe(101);
  return { wire, response };
}

/** Who is at the other end. */
async function behind(wire: Wire): Promise<string> {
  wire.write("x");
  const answer = await wire.read(2);
  expect(answer[1]).toBe("x");
  return answer[0]!;
}

describe.each(KINDS)("tunnels of sessions by $name", (kind) => {
  test("one stays where it is while its session moves, and those that begin go where the session is", async () => {
    const all = await echoes(kind);
    const { stage, guest, visit, sessions } = all;
    const { plane } = stage.proxy;
    const { wire: first, response } = await open(all, kind, guest);
    expect(response.values("set-cookie")).toEqual([]);
    expect(await behind(first)).toBe("0");
    expect(sessions()).toMatchObject({ begun: 2, kept: 1 });

    plane.setHealth(0, false, "down by a test");
    expect(await behind(first)).toBe("0");
    expect((await visit(guest)).body).toBe("1");
    const { wire: second } = await open(all, kind, guest);
    expect([await behind(first), await behind(second)]).toEqual(["0", "1"]);

    plane.setHealth(0, true, "up by a test");
    const { wire: third } = await open(all, kind, guest);
    expect((await visit(guest)).body).toBe("1");
    for (let i = 0; i < 3; i++) {
      expect([await behind(first), await behind(second), await behind(third)]).toEqual(["0", "1", "1"]);
    }
    expect(sessions()).toMatchObject({ begun: 2, kept: 4, moved: 1, lost: 0 });
    expect(stage.proxy.snapshot()).toMatchObject({ tunnelsActive: 3, tunnelsOpened: 3 });

    // Their ends say nothing of the session.
    for (const wire of [first, second, third]) wire.end();
    await eventually(() => plane.inspect().tunnels === 0, "all are closed");
    expect((await visit(guest)).body).toBe("1");
    expect(sessions()).toMatchObject({ begun: 2, kept: 5, moved: 1 });
  });

  test("one that begins a session is where its requests go", async () => {
    const all = await echoes(kind);
    const { visit, sessions } = all;
    for (let n = 10; n < 16; n++) {
      const visitor = new Visitor(n);
      const { wire, response } = await open(all, kind, visitor);
      const gift = kind.gift?.(response);
      if (gift !== undefined) visitor.given = gift;
      const home = await behind(wire);
      for (let i = 0; i < 2; i++) expect((await visit(visitor)).body).toBe(home);
      wire.end();
    }
    expect(sessions()).toMatchObject({ begun: 8, kept: 12, moved: 0 });
  });
});

test("a session that moves with its tunnel's request is given the cookie of the backend that took it", async () => {
  const kind = kindOf("cookie");
  const all = await echoes(kind);
  const { stage, guest, visitors, sessions } = all;
  await stage.backends[0]!.close();
  await eventually(() => stage.proxy.plane.inspect().backends[0]!.idle === 0, "its connections are gone");
  const { wire, response } = await open(all, kind, guest);
  const other = visitors.find((visitor) => visitor !== guest)!;
  expect(response.values("set-cookie").length).toBe(1);
  expect(cookieOf(response)!.split(".")[0]).toBe(other.given.split(".")[0]);
  expect(await behind(wire)).toBe("1");
  expect(sessions()).toMatchObject({ begun: 2, kept: 0, moved: 1 });
});

test("strict: a tunnel lives on though its session is lost, and a second one is refused", async () => {
  const kind = kindOf("header");
  const all = await echoes(kind, { strict: true });
  const { stage, guest, sessions } = all;
  const { wire } = await open(all, kind, guest);
  stage.proxy.plane.setHealth(0, false, "down by a test");
  const late = await stage.client();
  late.write(kind.request(guest).replace("\r\n\r\n", "\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"));
  const refused = await late.response();
  expect([refused.status, refused.value("spillway-reason")]).toEqual([503, "affinity-lost"]);
  expect(await behind(wire)).toBe("0");
  expect(sessions()).toMatchObject({ moved: 0, lost: 1 });
});

test("bytes in a tunnel are no use of a session: one that sends nothing else ends while its tunnel goes on", async () => {
  const time = stoppedTime();
  const kind = kindOf("header");
  const all = await echoes(kind, { ttl: "1h" });
  const { guest, visit, sessions } = all;
  const { wire } = await open(all, kind, guest);
  for (let minutes = 0; minutes < 60; minutes += 10) {
    time.pass(600_000);
    expect(await behind(wire)).toBe("0");
  }
  await visit(guest);
  expect(sessions()).toMatchObject({ begun: 3, kept: 1, moved: 0 });
  expect(await behind(wire)).toBe("0");
});
