import type { ListenError } from "../proxy/data-plane-api.ts";

/** What stands in the way of a listener and what to do about it, in one line. */
export function explainListenError(error: Pick<ListenError, "code" | "address" | "message">): string {
  const { code, address } = error;
  const [why, fix] = address.startsWith("unix:") ? adviseUnix(code, address.slice(5)) : adviseTcp(code, address);
  return `cannot listen on ${address}: ${why ?? error.message}${fix === undefined ? "" : `. ${fix}`}`;
}

type Advice = readonly [why?: string, fix?: string];

/** No file descriptor left, at whatever. */
export const TOO_MANY_FILES =
  "too many open files. Raise the limit: ulimit -n 65536, or LimitNOFILE=65536 in the service unit";

function adviseTcp(code: string, address: string): Advice {
  const port = address.slice(address.lastIndexOf(":") + 1);
  switch (code) {
    case "EADDRINUSE":
      return [
        "the address is in use by another process",
        `Stop it (ss -ltnp "sport = :${port}" names it) or listen on another port`,
      ];
    case "EACCES":
    case "EPERM":
      return [
        "permission denied; ports below 1024 are privileged",
        "Use a port from 1024 on, or allow node to bind low ones: sudo setcap cap_net_bind_service=+ep $(command -v node)",
      ];
    case "EADDRNOTAVAIL":
      return ["no interface of this machine has that address", "ip address lists those it has; :PORT listens on all"];
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return ["the host name does not resolve", "Write an IP address, or :PORT for every address"];
    case "EAFNOSUPPORT":
      return ["this machine has no IPv6", "Write an IPv4 address, such as 0.0.0.0:PORT"];
    case "EMFILE":
    case "ENFILE":
      return [TOO_MANY_FILES];
    default:
      return [];
  }
}

function adviseUnix(code: string, path: string): Advice {
  switch (code) {
    case "EADDRINUSE":
      return ["another process listens on it", "Stop it or choose another path"];
    case "EEXIST":
      return ["the file exists and is no socket", "Move it away or choose another path"];
    case "ENOENT":
    case "ENOTDIR":
      return ["its directory does not exist", `Create it: mkdir -p ${path.slice(0, path.lastIndexOf("/")) || "/"}`];
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return ["permission denied", "Choose a directory this user may write to"];
    case "EMFILE":
    case "ENFILE":
      return [TOO_MANY_FILES];
    default:
      return [];
  }
}
