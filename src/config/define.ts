import type { SettingsInput } from "./settings.ts";

/**
 * Gives a configuration in TypeScript its types; the value goes through as it is.
 *
 * @example
 * export default defineConfig({
 *   listeners: [{ listen: ":8080", upstream: "web" }],
 *   upstreams: { web: { backends: ["http://127.0.0.1:9001"] } },
 * });
 */
export function defineConfig(config: SettingsInput): SettingsInput {
  return config;
}
