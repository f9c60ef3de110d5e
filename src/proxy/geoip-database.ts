import { Reader, type Response } from "maxmind";
import type { Position } from "../policy/model/position.ts";
import { parseIp } from "../policy/route/cidr.ts";
import { positionOfPair, toPosition } from "./position-text.ts";

/** What stands before the metadata, and how far from the end it may be. Source: the MaxMind DB format, version 2.0. */
const MARKER = Buffer.from("\xab\xcd\xefMaxMind.com", "latin1");
const LONGEST_METADATA = 128 * 1024;
const SEPARATOR = 16;

/** How many networks a check looks at before it says that none has a position. */
const LOOKED_AT = 10_000;

const IPV4_PREFIX = 0xffff;

/** Where a city database keeps the place: MaxMind and DB-IP in `location`, some others beside the name of the city. */
interface PlaceRecord {
  readonly location?: { readonly latitude?: unknown; readonly longitude?: unknown };
  readonly latitude?: unknown;
  readonly longitude?: unknown;
}

/** A GeoIP database in MaxMind's format (version 2), read in place: all threads look into the same bytes. */
export class GeoipDatabase {
  /** What its maker calls it, for example `GeoLite2-City`. */
  readonly type: string;
  /** When it was made, as far as it says so. */
  readonly builtAt: Date | undefined;
  readonly #reader: Reader<Response>;
  readonly #ipVersion: number;

  /** @throws Error whose message says, in words for people, why these bytes are no such database. */
  constructor(bytes: SharedArrayBuffer) {
    const buffer = Buffer.from(bytes);
    refuseOtherFiles(buffer);
    this.#reader = open(buffer);
    const { metadata } = this.#reader;
    if (metadata.binaryFormatMajorVersion !== 2) {
      throw new Error(`its format has version ${metadata.binaryFormatMajorVersion}, not 2`);
    }
    if (metadata.ipVersion !== 4 && metadata.ipVersion !== 6)
      throw new Error("it says of no IP version that it is for");
    const data = metadata.searchTreeSize;
    if (!(data >= 0 && data + SEPARATOR <= buffer.length)) throw new Error("a part of it is missing");
    if (buffer.subarray(data, data + SEPARATOR).some((byte) => byte !== 0)) throw new Error("it is damaged");
    this.type = typeof metadata.databaseType === "string" ? metadata.databaseType : "of an unknown type";
    this.builtAt = Number.isNaN(metadata.buildEpoch.getTime()) ? undefined : metadata.buildEpoch;
    this.#ipVersion = metadata.ipVersion;
  }

  /**
   * Where an address is; undefined where the database does not say, where `address` is none, and where the database is
   * damaged. Costs microseconds; never throws.
   */
  find(address: string): Position | undefined {
    const ip = parseIp(address);
    if (ip === undefined) return undefined;
    const [first, second, third, last] = ip.words;
    const isIpv4 = first === 0 && second === 0 && third === IPV4_PREFIX;
    // The reader would follow the bits of an IPv6 address into a tree of IPv4 addresses, and find somebody else's city.
    if (!isIpv4 && this.#ipVersion === 4) return undefined;
    const plain = isIpv4 && ip.version === 6 ? dotted(last) : address;
    try {
      return positionOf(this.#reader.get(plain));
    } catch {
      return undefined;
    }
  }

  /**
   * Reads the first networks, to be told of a damaged file or of the wrong one before requests are.
   * @throws Error whose message says why no client could be placed by it.
   */
  check(): void {
    const bits = this.#ipVersion === 4 ? 32 : 128;
    const end = 1n << BigInt(bits);
    let records = 0;
    let address = 0n;
    for (let looked = 0; looked < LOOKED_AT && address < end; looked++) {
      const [record, prefix] = this.#read(address);
      if (positionOf(record) !== undefined) return;
      if (record !== null) records++;
      const size = 1n << BigInt(bits - prefix);
      address = (address / size + 1n) * size;
    }
    if (records === 0) throw new Error("it has no record of any network");
    throw new Error(`its records (${this.type}) have no latitude and longitude; a city database has them`);
  }

  #read(address: bigint): [Response | null, number] {
    try {
      return this.#reader.getWithPrefixLength(this.#ipVersion === 4 ? dotted(Number(address)) : groups(address));
    } catch {
      throw new Error("it is damaged");
    }
  }
}

function refuseOtherFiles(buffer: Buffer): void {
  if (buffer.length === 0) throw new Error("it is empty");
  if (buffer[0] === 0x1f && buffer[1] === 0x8b) throw new Error("it is compressed: unpack it first");
  if (!buffer.subarray(-LONGEST_METADATA - MARKER.length).includes(MARKER)) {
    throw new Error("it is no database in MaxMind's format, or its end is missing");
  }
}

function open(buffer: Buffer): Reader<Response> {
  try {
    return new Reader(buffer);
  } catch {
    throw new Error("it is damaged");
  }
}

function positionOf(record: Response | null): Position | undefined {
  if (record === null || typeof record !== "object") return undefined;
  const place = record as PlaceRecord;
  const { latitude, longitude } = place.location ?? place;
  if (typeof latitude === "number" && typeof longitude === "number") return toPosition(latitude, longitude);
  // Some makers write degrees as text.
  if (typeof latitude === "string" && typeof longitude === "string") return positionOfPair(latitude, longitude);
  return undefined;
}

function dotted(bits: number): string {
  return `${bits >>> 24}.${(bits >>> 16) & 255}.${(bits >>> 8) & 255}.${bits & 255}`;
}

function groups(address: bigint): string {
  return address.toString(16).padStart(32, "0").match(/.{4}/g)!.join(":");
}
