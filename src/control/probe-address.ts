import { createServer } from "node:net";
import type { ListenAddress } from "../config/values.ts";
import { formatAddress } from "../config/values.ts";
import { ListenError } from "../proxy/data-plane-api.ts";

/** A TCP address as the system sees it: an IP address and a port that is not 0. */
export interface SystemAddress {
  readonly host: string;
  readonly port: number;
}

/**
 * Binds a TCP address alone for a moment. Workers that share it with SO_REUSEPORT would be let in beside another
 * process that does the same; this is what refuses a second start. Answers what was bound, with names resolved and
 * the port chosen, so that all workers bind the same.
 * @throws ListenError when the address is in use or cannot be had.
 */
export function probeAddress(address: ListenAddress & { readonly kind: "tcp" }): Promise<SystemAddress> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => {
      reject(new ListenError(error.code ?? "UNKNOWN", formatAddress(address), error.message, { cause: error }));
    });
    const where = address.host === undefined ? {} : { host: address.host };
    server.listen({ ...where, port: address.port, exclusive: true }, () => {
      const bound = server.address() as { address: string; port: number };
      server.close(() => resolve({ host: bound.address, port: bound.port }));
    });
  });
}
