/*
 * The package root: what a configuration in TypeScript and a program that embeds Spillway need.
 */
export { defineConfig } from "./config/define.ts";
export type { Mistake } from "./config/mistakes.ts";
export type { SettingsInput } from "./config/settings.ts";
export { ConfigError, createSpillway, type EmbeddedSpillway, type EmbedOptions } from "./control/embed.ts";
export type { Log } from "./control/log.ts";
export { version } from "./control/version.ts";
export type { Snapshot } from "./metrics/snapshot.ts";
export { type BoundAddress, ListenError, type LogFields, type LogLevel } from "./proxy/data-plane-api.ts";
