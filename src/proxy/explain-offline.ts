import type { ListenerSettings, Settings, UpstreamSettings } from "../config/settings.ts";
import { formatAddress } from "../config/values.ts";
import { LocalCounts } from "../policy/model/local-counts.ts";
import { SeededRandom } from "../policy/model/random.ts";
import { CidrSet } from "../policy/route/cidr.ts";
import { compileRoutes } from "../policy/route/table.ts";
import { Upstream } from "../policy/upstream/upstream.ts";
import { knownNames } from "../wire/fields.ts";
import { ClientPositions } from "./client-position.ts";
import type { RequestDescription } from "./data-plane-api.ts";
import { type ExplainedListener, type ExplainedUpstream, explainRequest } from "./explain.ts";
import type { RequestExplanation } from "./explanation.ts";
import { assignSlots } from "./slots.ts";
import { backendOf, policyOf, setMembers } from "./upstream-policy.ts";

/** What is not in the settings. */
export interface OfflineParts {
  /** Databases by the path in `listeners[].clientPosition.geoip`. */
  readonly geoip: ReadonlyMap<string, SharedArrayBuffer>;
  /** What cookies are signed with where no key is configured. */
  readonly secret: string;
  /** Time of day, milliseconds since the Unix epoch. */
  readonly wallMs: number;
}

/**
 * What would become of a request in an instance that has just started with these settings: all backends up that the
 * settings do not keep out, all idle, nobody's session known but what a cookie says. Undefined: there is no such listener.
 */
export function explainOffline(
  settings: Settings,
  request: RequestDescription,
  { geoip, secret, wallMs }: OfflineParts,
): RequestExplanation | undefined {
  const listener = settings.listeners[request.listener];
  if (listener === undefined) return undefined;
  const byName = upstreamsOf(settings, secret);
  return explainRequest(explainedListener(listener, byName, geoip), request, {
    address: formatAddress(listener.listen),
    upstreams: new Map([...byName.values()].map((explained) => [explained.upstream, explained])),
    wallMs,
    now: 0,
  });
}

function upstreamsOf(settings: Settings, secret: string): ReadonlyMap<string, ExplainedUpstream> {
  const counts = new LocalCounts();
  const random = new SeededRandom(0);
  const slots = assignSlots(settings);
  const byName = new Map<string, ExplainedUpstream>();
  for (const [name, own] of Object.entries(settings.upstreams)) {
    const upstream = new Upstream(policyOf(name, own, { random, secret, sharedSessions: undefined }));
    const members = slots.filter(({ upstreamName }) => upstreamName === name);
    setMembers(
      upstream,
      members.map(({ settings: backend, slot }) => backendOf(backend, slot, counts)),
      own,
      0,
    );
    byName.set(name, { upstream, settings: own, asksForPosition: asksForPosition(own, settings) });
  }
  for (const { upstream, settings: own } of byName.values()) {
    const fallback = own.circuitBreaker === false ? undefined : own.circuitBreaker.fallback;
    if (fallback === undefined) continue;
    const other = fallback.upstream === undefined ? undefined : byName.get(fallback.upstream);
    upstream.fallback = { upstream: other?.upstream, respond: fallback.respond };
  }
  return byName;
}

function asksForPosition({ balance, circuitBreaker }: UpstreamSettings, { upstreams }: Settings): boolean {
  const fallback = circuitBreaker === false ? undefined : circuitBreaker.fallback?.upstream;
  const other = fallback === undefined ? undefined : upstreams[fallback];
  return balance.policy === "nearest" || other?.balance.policy === "nearest";
}

function explainedListener(
  { limits, routes, trustedProxies, clientPosition }: ListenerSettings,
  byName: ReadonlyMap<string, ExplainedUpstream>,
  geoip: ReadonlyMap<string, SharedArrayBuffer>,
): ExplainedListener {
  const trusted = new CidrSet(trustedProxies);
  return {
    limits,
    fieldNames: knownNames(undefined, undefined),
    positions: clientPosition === false ? undefined : new ClientPositions(clientPosition, geoip),
    routes: compileRoutes(routes, (name) => byName.get(name)!),
    trusts: (address) => trusted.has(address),
  };
}
