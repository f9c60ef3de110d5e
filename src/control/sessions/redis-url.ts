/** Where a Redis is, and who we are to it. */
export interface RedisAddress {
  readonly host: string;
  readonly port: number;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly db: number;
  /** `rediss:` instead of `redis:`. */
  readonly tls: boolean;
  /** The URL without its password, for people. */
  readonly shown: string;
}

const PORT = 6379;

/** `redis://[[user]:password@]host[:port][/db]`, or `rediss://` for TLS. @throws TypeError where that is no URL */
export function parseRedisUrl(text: string): RedisAddress {
  const url = new URL(text);
  const password = decodeURIComponent(url.password);
  const username = decodeURIComponent(url.username);
  url.password = "";
  return {
    // An IPv6 address stands in brackets in a URL, and nowhere else.
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: url.port === "" ? PORT : Number(url.port),
    username: username === "" ? undefined : username,
    password: password === "" ? undefined : password,
    db: Number(url.pathname.slice(1)),
    tls: url.protocol === "rediss:",
    shown: url.href,
  };
}
