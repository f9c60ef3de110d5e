import type { Stripe } from "../metrics/stripe.ts";
import type { Backend } from "../policy/model/backend.ts";
import type { Random } from "../policy/model/random.ts";
import type { Upstream } from "../policy/upstream/upstream.ts";
import type { Clock } from "../time/clock.ts";
import type { AccessLog } from "./access-log.ts";
import type { DataPlaneEvents } from "./data-plane-api.ts";
import type { RequestIds } from "./request-ids.ts";
import type { SharedSessions } from "./shared-sessions.ts";
import type { ReadBuffers } from "./transport/read-buffers.ts";
import type { BackendRuntime, UpstreamRuntime } from "./upstream-runtime.ts";

/** What everything on the way of a request shares within one data plane. */
export interface Services {
  readonly clock: Clock;
  readonly random: Random;
  readonly stripe: Stripe;
  readonly buffers: ReadBuffers;
  readonly requestIds: RequestIds;
  readonly events: DataPlaneEvents;
  readonly accessLog: AccessLog | undefined;
  /** Sessions that other workers or instances know of. */
  readonly sharedSessions: SharedSessions;
  /** What cookies are signed with where no key is configured. */
  readonly secret: string;
  /** All backends of all upstreams. */
  readonly runtimes: Map<Backend, BackendRuntime>;
  readonly upstreams: Map<Upstream, UpstreamRuntime>;
  /** Set once, when the data plane drains: every response from then on closes its connection. */
  draining: boolean;
  /** Exchanges that run now. */
  exchanges: number;
  /** Upgraded connections open now. */
  tunnels: number;
  /** Called after an exchange, tunnel or client connection ended; a drain waits for it. */
  ended: () => void;
  /** The value of a Date field, made once a second. */
  date(): string;
}

/** Makes `date()` over a clock. */
export function dateSource(clock: Clock): () => string {
  let second = -1;
  let text = "";
  return () => {
    const now = Math.floor(clock.wallTime() / 1000);
    if (now !== second) {
      second = now;
      text = new Date(now * 1000).toUTCString();
    }
    return text;
  };
}
