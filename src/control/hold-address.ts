import { type AddressInfo, createServer } from "node:net";
import type { ListenAddress } from "../config/values.ts";
import { formatAddress } from "../config/values.ts";
import { ListenError } from "../proxy/data-plane-api.ts";

/** An address that is held: an IP address and a port that is not 0. */
export interface HeldAddress {
  readonly host: string;
  readonly port: number;
  release(): Promise<void>;
}

/**
 * Binds a TCP address alone until it is released. Workers that share it with SO_REUSEPORT would be let in beside
 * another process that does the same; this is what refuses a second start. Answers what was bound, with names resolved
 * and the port chosen, so that all workers bind the same.
 * @throws ListenError when the address is in use or cannot be had.
 */
export function holdAddress(address: ListenAddress & { readonly kind: "tcp" }): Promise<HeldAddress> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", (error: NodeJS.ErrnoException) => {
      reject(new ListenError(error.code ?? "UNKNOWN", formatAddress(address), error.message, { cause: error }));
    });
    const where = address.host === undefined ? {} : { host: address.host };
    server.listen({ ...where, port: address.port, exclusive: true }, () => {
      const bound = server.address() as AddressInfo;
      const release = (): Promise<void> => new Promise((released) => server.close(() => released()));
      resolve({ host: bound.address, port: bound.port, release });
    });
  });
}
