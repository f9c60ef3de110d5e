import { Backend } from "../model/backend.ts";
import { LocalCounts } from "../model/local-counts.ts";
import type { PickRequest } from "../model/request.ts";

/** Backends by name and weight, `{ a: 5, b: 1 }`, at addresses `a.test:80`, `b.test:80`; with counts of their own. */
export function sampleBackends(weights: Readonly<Record<string, number>>): Backend[] {
  const counts = new LocalCounts();
  return Object.entries(weights).map(
    ([id, weight], slot) => new Backend({ id, address: `${id}.test:80`, weight, slot }, counts),
  );
}

/** The request number `n` of an endless row: each from another client, for another item, by another user. */
export function sampleRequest(n: number): PickRequest {
  const fields: Readonly<Record<string, string>> = { "x-user": `user-${n}`, cookie: `theme=dark; session=s${n}` };
  return {
    method: "GET",
    host: "shop.test",
    target: `/items/${n}?user=${n}`,
    client: `10.${(n >>> 16) & 255}.${(n >>> 8) & 255}.${n & 255}`,
    header: (name) => fields[name],
  };
}
