import type { Settings } from "./settings.ts";

const HIDDEN = "***";

/** The settings with `***` for every secret in them, to be shown. */
export function hideSecrets(settings: Settings): Settings {
  const upstreams = Object.entries(settings.upstreams).map(([name, { affinity, ...upstream }]) => {
    if (affinity === false) return [name, { ...upstream, affinity }] as const;
    const { key, store } = affinity;
    const shown = {
      ...affinity,
      key: key === undefined ? undefined : HIDDEN,
      store: store === false ? store : { ...store, url: hidePassword(store.url) },
    };
    return [name, { ...upstream, affinity: shown }] as const;
  });
  return { ...settings, upstreams: Object.fromEntries(upstreams) };
}

/** A URL with `***` for the password in it. */
export function hidePassword(url: string): string {
  const parsed = new URL(url);
  if (parsed.password === "") return url;
  parsed.password = HIDDEN;
  return parsed.href;
}
