import type { SessionSource } from "./options.ts";

/** What a session is told by, as people and metrics read it: `cookie:spillway`, `learned header:x-session`, `client-ip`. */
export function sourceWords(by: SessionSource): string {
  switch (by.kind) {
    case "cookie":
      return `cookie:${by.cookie.name}`;
    case "learned":
      return `learned ${by.from}:${by.name}`;
    case "key":
      return by.key;
  }
}
