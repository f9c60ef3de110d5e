import type { PositionSource } from "../metrics/layout.ts";
import type { Position } from "../policy/model/position.ts";
import type { PickRequest } from "../policy/model/request.ts";
import { RecentKeys } from "../policy/resilience/recent-keys.ts";
import { GeoipDatabase } from "./geoip-database.ts";
import { positionOfGeoUri, positionOfPair } from "./position-text.ts";

/** Where a listener takes the positions of its clients from; names of fields are in lower case. */
export interface ClientPositionSettings {
  readonly headers:
    | { readonly kind: "pair"; readonly latitude: string; readonly longitude: string }
    | { readonly kind: "geo"; readonly name: string }
    | undefined;
  /** Path of a database. */
  readonly geoip: string | undefined;
  readonly default: Position | undefined;
}

/** A position, and what said so. */
export interface LocatedClient {
  readonly position: Position | undefined;
  readonly source: PositionSource;
}

/** Clients whose place is remembered, for each listener; about 150 bytes each. */
const REMEMBERED = 65_536;

/**
 * Finds out where the clients of one listener are: what a trusted proxy says of them, else what the database says of
 * their address, else the configured default. What the database said, and that it said nothing, is remembered for the
 * clients seen last; asking again allocates nothing.
 */
export class ClientPositions {
  readonly #settings: ClientPositionSettings;
  #database: GeoipDatabase | undefined;
  #clients = new RecentKeys(REMEMBERED);
  /** By slot in `#clients`. */
  #positions: (Position | undefined)[] = [];
  #source: PositionSource = "none";

  /** `databases`: by path. One that is missing or damaged says nothing of any client. */
  constructor(settings: ClientPositionSettings, databases: ReadonlyMap<string, SharedArrayBuffer>) {
    this.#settings = settings;
    const { geoip } = settings;
    const database = geoip === undefined ? undefined : databases.get(geoip);
    if (geoip !== undefined && database !== undefined) this.setDatabase(geoip, database);
  }

  /** What the last answer of `locate` was taken from. */
  get source(): PositionSource {
    return this.#source;
  }

  /**
   * Where the client of a request is; undefined when nobody knows. `trusted`: the peer is a trusted proxy, so its fields
   * count; a field that holds no valid position counts as none. Never throws.
   */
  locate(head: PickRequest, trusted: boolean): Position | undefined {
    if (trusted) {
      const said = this.#fromHeaders(head);
      if (said !== undefined) {
        this.#source = "header";
        return said;
      }
    }
    const found = this.#database === undefined ? undefined : this.#fromDatabase(this.#database, head.client);
    if (found !== undefined) {
      this.#source = "geoip";
      return found;
    }
    const fallback = this.#settings.default;
    this.#source = fallback === undefined ? "none" : "default";
    return fallback;
  }

  /** What `locate` would answer, with its source, of a request that nobody has sent: it leaves nothing behind. */
  peek(head: PickRequest, trusted: boolean): LocatedClient {
    const said = trusted ? this.#fromHeaders(head) : undefined;
    if (said !== undefined) return { position: said, source: "header" };
    const found = head.client === "" ? undefined : this.#database?.find(head.client);
    if (found !== undefined) return { position: found, source: "geoip" };
    const fallback = this.#settings.default;
    return { position: fallback, source: fallback === undefined ? "none" : "default" };
  }

  /**
   * The database at `path` has been read anew; nothing changes when it is another path than this listener's. What the old
   * one said is forgotten. Bytes that are no database are as good as none.
   */
  setDatabase(path: string, database: SharedArrayBuffer): void {
    if (path !== this.#settings.geoip) return;
    this.#clients = new RecentKeys(REMEMBERED);
    this.#positions = [];
    try {
      this.#database = new GeoipDatabase(database);
    } catch {
      // The control plane, which reads it, has told the operator why.
      this.#database = undefined;
    }
  }

  #fromHeaders(head: PickRequest): Position | undefined {
    const { headers } = this.#settings;
    if (headers === undefined) return undefined;
    if (headers.kind === "geo") return positionOfGeoUri(head.header(headers.name));
    return positionOfPair(head.header(headers.latitude), head.header(headers.longitude));
  }

  #fromDatabase(database: GeoipDatabase, client: string): Position | undefined {
    if (client === "") return undefined;
    const known = this.#clients.find(client);
    if (known !== -1) return this.#positions[known];
    const position = database.find(client);
    this.#positions[this.#clients.add(client)] = position;
    return position;
  }
}
