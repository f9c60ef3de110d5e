import { parseShortAffinity, SOURCES } from "./affinity-schema.ts";
import * as affinityText from "./affinity-text.ts";
import type { Checked } from "./checks.ts";
import { standardAt } from "./defaults.ts";
import type { Finding, KeyPath } from "./mistakes.ts";
import { type Hosts, overlap, reachedFrom } from "./reach.ts";
import { at } from "./schema-findings.ts";
import { isWrong, quote } from "./values.ts";
import { type Block, isBlock, listAt } from "./written.ts";

// How the keys of an `affinity` fit together, and the cookies of several upstreams.

/** Checks one upstream by itself. */
export function checkAffinity(upstream: Block, base: KeyPath, { mistakes, warnings }: Checked): void {
  const affinity = blockOf(upstream);
  if (affinity === undefined) return;
  const path = [...base, "affinity"];
  // A key whose variable is not set is there, without a value: that is told by itself.
  const sources = SOURCES.filter((key) => Object.hasOwn(affinity, key));
  if (sources.length !== 1) {
    const wrong =
      sources.length === 0 ? "nothing says what a session is told by" : `${sources.join(" and ")} exclude each other`;
    mistakes.push({
      code: "CONFIG_AFFINITY",
      path,
      wrong,
      fix: "Write exactly one of cookie, learned, header, query and client-ip",
    });
  } else if (sources[0] === "cookie") checkBesideCookie(affinity, path, warnings);
  else if (Object.hasOwn(affinity, "key")) {
    mistakes.push({
      code: "CONFIG_AFFINITY",
      path: [...path, "key"],
      at: "key",
      wrong: "a key is what cookies of Spillway's are made with, and there is none here",
      fix: "Leave it out, or write cookie: spillway",
    });
  }
  if (affinity.strict === true && isBlock(affinity.rebalance)) {
    warnings.push({
      code: "CONFIG_AFFINITY_UNUSED",
      path: [...path, "rebalance"],
      at: "key",
      wrong: "tunnels would be closed for nothing: with strict, whose session is on a backend comes back to it",
      fix: "Leave rebalance out, or strict",
    });
  }
  checkLearned(affinity, path, mistakes);
  checkCookie(upstream, path, mistakes);
}

/** The affinity as a block, from whichever form it was written in; undefined where there is none. */
function blockOf(upstream: Block): Block | undefined {
  const { affinity } = upstream;
  if (typeof affinity !== "string") return isBlock(affinity) ? affinity : undefined;
  const block = parseShortAffinity(affinity);
  return isWrong(block) ? undefined : block;
}

function checkBesideCookie(affinity: Block, path: KeyPath, warnings: Finding[]): void {
  if (!Object.hasOwn(affinity, "key")) {
    warnings.push({
      code: "CONFIG_AFFINITY_KEY",
      path,
      wrong:
        "cookies are made with a key that is new at each start: those from before, or of another instance, are not known",
      fix: `Write key: "\${SPILLWAY_AFFINITY_KEY}", the same in all instances`,
    });
  }
  for (const key of ["maxSessions", "store"]) {
    if (affinity[key] === undefined || affinity[key] === "memory") continue;
    warnings.push({
      code: "CONFIG_AFFINITY_UNUSED",
      path: [...path, key],
      at: "key",
      wrong: `${key} has no effect beside cookie: the cookie says it all, so nothing is remembered`,
      fix: "Leave it out",
    });
  }
}

function checkLearned({ learned }: Block, path: KeyPath, mistakes: Finding[]): void {
  if (!isBlock(learned) || Object.hasOwn(learned, "cookie") !== Object.hasOwn(learned, "header")) return;
  mistakes.push({
    code: "CONFIG_AFFINITY",
    path: [...path, "learned"],
    wrong: !Object.hasOwn(learned, "cookie") ? "nothing says where the id is" : "cookie and header exclude each other",
    fix: "Write either cookie or header",
  });
}

/** What a cookie is written as, with its defaults. */
interface WrittenCookie {
  readonly name: string;
  readonly path: unknown;
  readonly domain: unknown;
  readonly secure: unknown;
  readonly sameSite: unknown;
}

/** The cookie that an upstream sets, as far as it has a name that is one. */
function cookieOf(upstream: Block): WrittenCookie | undefined {
  const cookie = blockOf(upstream)?.cookie;
  if (cookie === undefined || cookie === null) return undefined;
  const key = (name: string): unknown =>
    (isBlock(cookie) ? cookie[name] : undefined) ?? standardAt(["upstreams", "", "affinity", "cookie", name]);
  const name = isBlock(cookie) ? key("name") : cookie;
  if (isWrong(affinityText.cookieName(name))) return undefined;
  return {
    name: String(name),
    path: key("path"),
    domain: key("domain"),
    secure: key("secure"),
    sameSite: key("sameSite"),
  };
}

/**
 * What browsers refuse, they refuse in silence (RFC 6265bis sections 4.1.3 and 5.7). `secure: auto` is refused with a
 * prefix as well: without TLS no browser would keep the cookie, and with TLS it is the same as `true`.
 */
function checkCookie(upstream: Block, base: KeyPath, mistakes: Finding[]): void {
  const cookie = cookieOf(upstream);
  if (cookie === undefined) return;
  const { name, path, domain, secure, sameSite } = cookie;
  const written = at(upstream, ["affinity", "cookie"]);
  // What was left out is told where the cookie is.
  const say = (key: string, wrong: string, fix: string): void => {
    const there =
      isBlock(written) && written[key] !== undefined ? ["cookie", key] : written === undefined ? [] : ["cookie"];
    mistakes.push({ code: "CONFIG_COOKIE", path: [...base, ...there], wrong, fix });
  };
  const prefix = /^__(host|secure)-/i.exec(name)?.[0];
  if (prefix !== undefined && ["auto", "false"].includes(String(secure))) {
    say(
      "secure",
      `browsers take a cookie whose name begins with ${prefix} only with Secure, and secure is ${String(secure)}`,
      `Write { name: ${name}, secure: true }`,
    );
  } else if (sameSite === "None" && String(secure) === "false") {
    say("secure", "browsers take SameSite=None only with Secure, and secure is false", "Write secure: true or auto");
  }
  if (prefix?.toLowerCase() !== "__host-") return;
  if (path !== "/")
    say("path", `browsers take a cookie whose name begins with ${prefix} only with the path /`, "Leave path out");
  if (domain !== "")
    say("domain", `browsers take a cookie whose name begins with ${prefix} only without a domain`, "Leave domain out");
}

/** Warns of upstreams that set the same cookie for the same clients, and of cookies that no browser would keep. */
export function checkCookies(data: Block, upstreams: Block, { warnings }: Checked): void {
  const seen: CookieUse[] = [];
  for (const use of cookiesInUse(data, upstreams)) {
    const { name, cookie, hosts } = use;
    const path = ["upstreams", name, "affinity"];
    if (cookie.sameSite === "None" && String(cookie.secure) === "auto" && !use.byTls) {
      warnings.push({
        code: "CONFIG_COOKIE_INSECURE",
        path: [...path, "cookie", "sameSite"],
        wrong: "browsers take SameSite=None only with Secure, and nobody is believed who says that clients come by TLS",
        fix: "Write secure: true, or list the proxies in front under trustedProxies",
      });
    }
    const other = seen.find(
      (each) => each.cookie.name === cookie.name && each.cookie.path === cookie.path && overlap(each.hosts, hosts),
    );
    seen.push(use);
    if (other === undefined) continue;
    warnings.push({
      code: "CONFIG_AFFINITY_COOKIE",
      path,
      wrong: `upstream ${other.name} sets a cookie called ${quote(cookie.name)} for the same clients: each overwrites the other's`,
      fix: "Give each cookie its own name",
    });
  }
}

/** The cookie of an upstream that listeners lead to. */
interface CookieUse {
  readonly name: string;
  readonly cookie: WrittenCookie;
  /** Hosts that it is set for, by all listeners: cookies know no ports. */
  hosts: Hosts;
  /** There is a listener that believes somebody who says that a client came by TLS. */
  byTls: boolean;
}

function cookiesInUse(data: Block, upstreams: Block): Iterable<CookieUse> {
  const uses = new Map<string, CookieUse>();
  for (const listener of listAt(data, "listeners")) {
    if (!isBlock(listener)) continue;
    const byTls = listAt(listener, "trustedProxies").length > 0;
    for (const [name, routed] of reachedFrom(listener, upstreams)) {
      const cookie = cookieOf(upstreams[name] as Block);
      if (cookie === undefined) continue;
      const hosts = typeof cookie.domain === "string" && cookie.domain !== "" ? below(cookie.domain) : routed;
      const use = uses.get(name) ?? { name, cookie, hosts, byTls };
      use.hosts &&= hosts && [...use.hosts, ...hosts];
      use.byTls ||= byTls;
      uses.set(name, use);
    }
  }
  return uses.values();
}

function below(domain: string): Hosts {
  const bare = domain.toLowerCase().replace(/^\.|\.$/g, "");
  return [bare, `*.${bare}`];
}
