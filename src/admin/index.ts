export { type Admin, type AdminOptions, createAdmin } from "./server.ts";
export type { AdminSource, AdminStatus, Readiness } from "./source.ts";
export type {
  AffinityDocument,
  BackendDocument,
  ExchangeFigures,
  SessionStoreDocument,
  StatusDocument,
  UpstreamDocument,
} from "./status.ts";
