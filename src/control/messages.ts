import type { Settings } from "../config/settings.ts";
import type { MetricsLayout } from "../metrics/layout.ts";
import type {
  BackendCondition,
  BoundAddress,
  DataPlaneInspection,
  LogFields,
  LogLevel,
  RequestDescription,
  RequestExplanation,
} from "../proxy/data-plane-api.ts";

/*
 * Everything control plane and workers say to each other. Plain data: it is copied from thread to thread.
 */

/** How a worker binds its TCP listeners; what only one process or thread can own, worker 0 binds. */
export type WorkerBind = "exclusive" | "reuse-port" | "koffi";

/** The memory all threads share. */
export interface SharedMemory {
  readonly layout: MetricsLayout;
  /** One stripe per worker and a last one for the control plane. */
  readonly metrics: SharedArrayBuffer;
  readonly counts: SharedArrayBuffer;
}

/** A backend that is down when a worker starts. */
export interface DownBackend {
  readonly slot: number;
  readonly reason: string;
}

/** What a worker is started with. */
export interface WorkerData {
  readonly settings: Settings;
  readonly worker: number;
  readonly bind: WorkerBind;
  readonly memory: SharedMemory;
  readonly down: readonly DownBackend[];
  /** See `DataPlaneInit`. */
  readonly secret: string;
  readonly sharedSessions: ReadonlySet<string>;
  readonly geoip: ReadonlyMap<string, SharedArrayBuffer>;
}

/** From the control plane to a worker. */
export type ToWorker =
  | { readonly type: "health"; readonly slot: number; readonly up: boolean; readonly reason: string }
  | { readonly type: "checkPassed"; readonly slot: number; readonly http: boolean }
  | { readonly type: "surrenderConnection"; readonly slot: number }
  | { readonly type: "retryConnections"; readonly slot: number }
  /** So many characters of access log are written or given up. */
  | { readonly type: "accessLogWritten"; readonly chars: number }
  | {
      readonly type: "sessionFound";
      readonly id: number;
      readonly address: string | undefined;
      readonly failed: boolean;
    }
  | {
      readonly type: "sessionCorrected";
      readonly upstream: string;
      readonly key: string;
      readonly address: string;
      readonly instead: readonly string[];
    }
  | { readonly type: "sessionsForgotten"; readonly upstream: string }
  | { readonly type: "geoip"; readonly path: string; readonly database: SharedArrayBuffer }
  | { readonly type: "inspect" }
  | { readonly type: "explain"; readonly id: number; readonly request: RequestDescription }
  | { readonly type: "drain"; readonly deadlineMs: number };

/** From a worker to the control plane. */
export type FromWorker =
  | { readonly type: "listening"; readonly addresses: readonly BoundAddress[] }
  | { readonly type: "listenFailed"; readonly code: string; readonly address: string; readonly message: string }
  /** Whole access log lines, each with its newline. */
  | { readonly type: "accessLog"; readonly text: string; readonly lines: number }
  | {
      readonly type: "log";
      readonly level: LogLevel;
      readonly code: string;
      readonly message: string;
      readonly fields: LogFields | undefined;
    }
  | { readonly type: "connectionWanted"; readonly slot: number }
  | { readonly type: "connectionFreed"; readonly slot: number }
  | ({ readonly type: "backendCondition"; readonly slot: number } & BackendCondition)
  | { readonly type: "sessionWanted"; readonly id: number; readonly upstream: string; readonly key: string }
  | {
      readonly type: "sessionPlaced";
      readonly upstream: string;
      readonly key: string;
      readonly address: string;
      readonly instead: string | undefined;
      readonly ttlMs: number;
    }
  | { readonly type: "inspected"; readonly inspection: DataPlaneInspection }
  | {
      readonly type: "explained";
      readonly id: number;
      readonly explanation: RequestExplanation | undefined;
    }
  | { readonly type: "drained"; readonly cut: number };
