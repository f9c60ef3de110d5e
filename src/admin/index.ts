export { type Admin, type AdminOptions, createAdmin } from "./server.ts";
export type { AdminSource, AdminStatus, Readiness } from "./source.ts";
export type { BackendDocument, ExchangeFigures, StatusDocument, UpstreamDocument } from "./status.ts";
