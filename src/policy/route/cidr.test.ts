import { BlockList, isIP } from "node:net";
import fc from "fast-check";
import { expect, test } from "vitest";
import { CidrSet, isCidr, parseIp } from "./cidr.ts";

const v4 = fc.ipV4();
const v6 = fc.ipV6();
const v4Block = fc.tuple(v4, fc.integer({ min: 0, max: 32 })).map(([address, bits]) => `${address}/${bits}`);
const v6Block = fc.tuple(v6, fc.integer({ min: 0, max: 128 })).map(([address, bits]) => `${address}/${bits}`);

test("what is an address is what the platform says is one", () => {
  const near = fc.string({ unit: fc.constantFrom(..."0123456789abcdefF:.%/ g-"), maxLength: 42 });
  fc.assert(
    fc.property(fc.oneof(v4, v6, near), (text) => {
      // A zone is an address to the platform, not to a configuration.
      expect(parseIp(text)?.version ?? 0).toBe(text.includes("%") ? 0 : isIP(text));
    }),
    { numRuns: 5000, seed: 1 },
  );
});

test("leading zeros, missing parts and strange separators are no address", () => {
  for (const text of [
    "01.2.3.4",
    "1.2.3",
    "1.2.3.4.5",
    "256.1.1.1",
    "",
    ":",
    ":::",
    "1::2::3",
    "::1.2.3",
    "1:2:3:4:5:6:7",
    "::ffff:1.2.3.4:1",
    "0x7f.0.0.1",
    " 1.2.3.4",
    "12345::",
  ]) {
    expect([text, parseIp(text)]).toEqual([text, undefined]);
  }
});

test("a block takes in what the platform's own list takes in", () => {
  const inside = (address: string, block: string) => {
    const [base, bits] = block.split("/") as [string, string];
    const list = new BlockList();
    list.addSubnet(base, Number(bits), isIP(base) === 6 ? "ipv6" : "ipv4");
    return list.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
  };
  fc.assert(
    fc.property(fc.oneof(fc.tuple(v4, v4Block), fc.tuple(v6, v6Block)), ([address, block]) => {
      // An address inside IPv6 that stands for IPv4 is IPv4 to us, and which of the two a list sees has changed over time.
      fc.pre(!/^::ffff:/i.test(address) && !/^::ffff:/i.test(block));
      const near = new CidrSet([block]).has(address);
      expect(near).toBe(inside(address, block));
    }),
    { numRuns: 3000, seed: 1 },
  );
});

test("many blocks together take in what each takes in", () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(v4Block, v6Block), { maxLength: 20 }), fc.oneof(v4, v6), (blocks, address) => {
      const expected = blocks.some((block) => new CidrSet([block]).has(address));
      expect(new CidrSet(blocks).has(address)).toBe(expected);
    }),
    { numRuns: 2000, seed: 1 },
  );
});

test("every block holds its own base, and its first and last address", () => {
  const set = new CidrSet(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "10.1.0.0/16"]);
  for (const address of [
    "10.0.0.0",
    "10.255.255.255",
    "192.0.2.7",
    "2001:db8::",
    "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
  ]) {
    expect([address, set.has(address)]).toEqual([address, true]);
  }
  for (const address of ["9.255.255.255", "11.0.0.0", "192.0.2.6", "192.0.2.8", "2001:db7:ffff::", "2001:db9::"]) {
    expect([address, set.has(address)]).toEqual([address, false]);
  }
});

test("IPv4 inside IPv6 is the same address", () => {
  expect(new CidrSet(["192.0.2.0/24"]).has("::ffff:192.0.2.1")).toBe(true);
  expect(new CidrSet(["::ffff:192.0.2.0/120"]).has("192.0.2.1")).toBe(true);
  expect(new CidrSet(["::/0"]).has("192.0.2.1")).toBe(true);
  expect(new CidrSet(["0.0.0.0/0"]).has("::1")).toBe(false);
});

test("a zone is left out of account, and what is no address is in no set", () => {
  const set = new CidrSet(["fe80::/10", "0.0.0.0/0"]);
  expect(set.has("fe80::1%eth0")).toBe(true);
  expect(set.has("")).toBe(false);
  expect(set.has("shop.test")).toBe(false);
  expect(new CidrSet([]).has("10.0.0.1")).toBe(false);
  expect(new CidrSet([]).empty).toBe(true);
});

test("a block is an address and a number of bits it can have", () => {
  for (const text of [
    "10.0.0.0/33",
    "::/129",
    "10.0.0.0/",
    "10.0.0.0/08",
    "10.0.0.0/-1",
    "10.0.0/8",
    "/8",
    "fe80::1%eth0",
    "10.0.0.0/8/8",
  ]) {
    expect([text, isCidr(text)]).toEqual([text, false]);
    expect(() => new CidrSet([text])).toThrow(RangeError);
  }
});
