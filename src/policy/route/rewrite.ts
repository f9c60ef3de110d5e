import { pathEnd } from "./path.ts";
import type { RewriteRule, Route } from "./route.ts";

/**
 * The target a backend gets: `stripPrefix` taken off, `addPrefix` put on, all else as sent.
 *
 * Undefined: refuse the request with 400. Its path holds `..`, and resolved it would leave the prefix the route stands
 * for, or belong to a route that comes before this one: `/public/../admin` must not come round the route for `/admin`.
 * Backends differ in what they take for a dot segment, so every reading counts: `%2e`, `%2f`, `%5c`, `\`, and `..;x`.
 */
export function rewriteTarget(route: Route<unknown>, target: string): string | undefined {
  const rule = route.rewrite;
  if (target.charCodeAt(0) !== 0x2f) return target; // `*` of OPTIONS
  const strips = rule.strip !== "" && beginsWith(target, rule.strip);
  if (rule.guarded && mayHoldDots(target) && leaves(rule, strips, target)) return undefined;
  if (!strips) return rule.add === "" ? target : rule.add + target;
  const rest = target.slice(rule.strip.length);
  return rule.add + (rest.charCodeAt(0) === 0x2f ? rest : `/${rest}`);
}

/** `/v1` is a prefix of `/v1`, `/v1/x` and `/v1?x`, not of `/v10`. */
function beginsWith(target: string, prefix: string): boolean {
  if (!target.startsWith(prefix)) return false;
  const next = target.charCodeAt(prefix.length);
  return Number.isNaN(next) || next === 0x2f || next === 0x3f;
}

/** A quick look that sees every path with dot segments, and some without. */
function mayHoldDots(target: string): boolean {
  return target.includes("..") || target.includes("%2");
}

const SEPARATOR = /[/\\]|%2f|%5c/i;
const DOT = /^(\.|%2e)(;.*)?$/i;
const DOTS = /^(\.|%2e){2}(;.*)?$/i;

function leaves(rule: RewriteRule, strips: boolean, target: string): boolean {
  const path = target.slice(0, pathEnd(target));
  const stripped = strips ? `${rule.strip}/` : "";
  const guard = stripped.length > rule.prefix.length ? stripped : rule.prefix || "/";
  const kept: string[] = [];
  let climbs = false;
  let last = "";
  for (const segment of path.slice(guard.length).split(SEPARATOR)) {
    last = segment;
    if (DOTS.test(segment)) {
      climbs = true;
      // Some servers drop an empty segment first and climb over the one before: no reading is safe.
      if (kept.length === 0 || kept.pop() === "") return true;
    } else if (!DOT.test(segment)) kept.push(segment);
  }
  if (!climbs) return false;
  if (DOT.test(last) || DOTS.test(last)) kept.push("");
  const resolved = guard + kept.join("/");
  if (rule.own?.matches(resolved, resolved.length) === false) return true;
  for (const matcher of rule.earlier) {
    if (matcher.matches(resolved, resolved.length) && !matcher.matches(path, path.length)) return true;
  }
  return false;
}
