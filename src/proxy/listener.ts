import type { ListenerSettings } from "../config/settings.ts";
import { CidrSet } from "../policy/route/cidr.ts";
import type { Route } from "../policy/route/route.ts";
import type { RouteTable } from "../policy/route/table.ts";
import { type KnownNames, knownNames } from "../wire/fields.ts";
import { ClientPositions } from "./client-position.ts";
import { ClientSession } from "./client-session.ts";
import type { ForwardedSettings, Trust } from "./forwarding.ts";
import { RouteLimit } from "./route-limit.ts";
import type { Services } from "./services.ts";
import type { Connection } from "./transport/connection.ts";
import type { UpstreamRuntime } from "./upstream-runtime.ts";

/** An address the proxy accepts connections on: its settings, compiled, and the sessions of its clients. */
export class Listener implements Trust {
  readonly limits: ListenerSettings["limits"];
  readonly timeouts: ListenerSettings["timeouts"];
  readonly forwarded: ForwardedSettings;
  readonly routes: RouteTable<UpstreamRuntime>;
  readonly fieldNames: KnownNames;
  /** Field that carries the request id, in lower case; undefined for none. */
  readonly requestIdName: string | undefined;
  /** Field that carries what is left until the deadline, in lower case; undefined for none. */
  readonly deadlineName: string | undefined;
  /** Where its clients are; undefined where nobody wants to know. */
  readonly positions: ClientPositions | undefined;
  readonly #trusted: CidrSet;
  readonly #index: number;
  readonly #services: Services;
  /**
   * In no order; each knows its place. Not a Set: its outgrown tables keep each other and all they ever held alive until
   * the old generation is collected, which made every closed connection outlive the young one.
   */
  readonly #sessions: ClientSession[] = [];
  readonly #rateLimits = new Map<Route<UpstreamRuntime>, RouteLimit>();

  /** @param geoip databases by their path in the configuration. */
  constructor(
    index: number,
    settings: ListenerSettings,
    routes: RouteTable<UpstreamRuntime>,
    services: Services,
    geoip: ReadonlyMap<string, SharedArrayBuffer>,
  ) {
    this.limits = settings.limits;
    this.timeouts = settings.timeouts;
    this.forwarded = settings.forwarded;
    this.routes = routes;
    this.requestIdName =
      settings.forwarded.requestId === false ? undefined : settings.forwarded.requestId.toLowerCase();
    this.deadlineName = settings.forwarded.deadline === false ? undefined : settings.forwarded.deadline.toLowerCase();
    this.fieldNames = knownNames(this.requestIdName, this.deadlineName);
    const { clientPosition } = settings;
    this.positions = clientPosition === false ? undefined : new ClientPositions(clientPosition, geoip);
    this.#trusted = new CidrSet(settings.trustedProxies);
    this.#index = index;
    this.#services = services;
    for (const route of routes.routes) {
      if (route.rateLimit !== false) this.#rateLimits.set(route, new RouteLimit(route.rateLimit));
    }
  }

  /** The rate limit of a route that has one. */
  rateLimitOf(route: Route<UpstreamRuntime>): RouteLimit {
    return this.#rateLimits.get(route)!;
  }

  get connections(): number {
    return this.#sessions.length;
  }

  trusts(address: string): boolean {
    return this.#trusted.has(address);
  }

  /** Takes a client's connection, unless there are too many. */
  accepted(connection: Connection): void {
    if (this.#sessions.length >= this.limits.connections || this.#services.draining) {
      this.#services.stripe.shed("connections");
      connection.reset();
      return;
    }
    this.#services.stripe.clientConnectionOpened(this.#index);
    this.#sessions.push(new ClientSession(connection, this, this.#sessions.length, this.#services));
  }

  /** Called once by each session. The last one takes its place. */
  sessionClosed({ place }: ClientSession): void {
    const last = this.#sessions.pop()!;
    if (last.place !== place) {
      this.#sessions[place] = last;
      last.place = place;
    }
    this.#services.stripe.clientConnectionClosed(this.#index);
  }

  /** Closes what is idle; what runs is answered, and closes then. */
  drain(): void {
    for (const session of [...this.#sessions]) session.drain();
  }

  /** Closes everything. */
  abort(): void {
    for (const session of [...this.#sessions]) session.abort();
  }
}
