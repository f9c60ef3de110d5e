import type { Settings } from "../config/settings.ts";
import type {
  BackendCondition,
  BoundAddress,
  DataPlaneInspection,
  RequestDescription,
  RequestExplanation,
} from "../proxy/data-plane-api.ts";
import type { Clock } from "../time/clock.ts";
import type { AccessLog } from "./access-log.ts";
import type { Log } from "./log.ts";
import type { SharedMemory } from "./messages.ts";

/** What data planes are made of, wherever they run. */
export interface DataPlaneParts {
  readonly settings: Settings;
  readonly memory: SharedMemory;
  readonly clock: Clock;
  readonly log: Log;
  /** Undefined while the access log is off. */
  readonly accessLog: Pick<AccessLog, "write"> | undefined;
  readonly conditions: ConditionListener;
  readonly sessions: SessionListener;
  /** See `DataPlaneInit`. */
  readonly secret: string;
  readonly sharedSessions: ReadonlySet<string>;
  /** What has been read up to now, for those that start later too: what `DataPlanes.setGeoip` is told must be in it. */
  readonly geoip: ReadonlyMap<string, SharedArrayBuffer>;
}

/** Who hears of the sessions that data planes share. */
export interface SessionListener {
  /** `DataPlanes.sessionFound` answers, for the same worker and with the same `id`. */
  sessionWanted(worker: number, id: number, upstream: string, key: string): void;
  /** `DataPlanes.sessionCorrected` tells all that have a part in it when the session has moved, or belongs elsewhere. */
  sessionPlaced(
    worker: number,
    upstream: string,
    key: string,
    address: string,
    instead: string | undefined,
    ttlMs: number,
  ): void;
}

/** Who hears what data planes think of backends. */
export interface ConditionListener {
  conditionChanged(worker: number, slot: number, condition: BackendCondition): void;
  /** What this worker thought has ended with it. */
  workerDied(worker: number): void;
}

/** The data planes of one Spillway as the control plane sees them, in however many threads they run. */
export interface DataPlanes {
  /** Opens all listeners; the addresses are in the order of the configuration. @throws ListenError */
  start(): Promise<readonly BoundAddress[]>;
  /** What checks say of the backend in `slot`, for every data plane, those that start later included. */
  setHealth(slot: number, up: boolean, reason: string): void;
  /** A check found the backend in `slot` well: one that is ejected may come back. `http`: it answered a request. */
  checkPassed(slot: number, http: boolean): void;
  /** As `DataPlane.sessionFound`, for the data plane that asked; never within its question. */
  sessionFound(worker: number, id: number, address: string | undefined, failed: boolean): void;
  /** As `DataPlane.sessionCorrected`, for one data plane. */
  sessionCorrected(worker: number, upstream: string, key: string, address: string, instead: readonly string[]): void;
  /** As `DataPlane.sessionsForgotten`, for all that run. */
  sessionsForgotten(upstream: string): void;
  /** As `DataPlane.setGeoip`, for all that run. */
  setGeoip(path: string, database: SharedArrayBuffer): void;
  /** Data planes that carry traffic now. */
  readonly running: number;
  /** Why some listener is not open; undefined when all are. */
  missing(): string | undefined;
  /** As `DataPlane.drain`, over all of them: `cut` exchanges did not end in time. */
  drain(deadlineMs: number): Promise<{ readonly cut: number }>;
  /** What each of those that run has open. */
  inspect(): Promise<readonly DataPlaneInspection[]>;
  /** As `DataPlane.explain`, asked of one that runs; undefined also where none answers soon. */
  explain(request: RequestDescription): Promise<RequestExplanation | undefined>;
  /** Ends everything at once. */
  close(): Promise<void>;
}
