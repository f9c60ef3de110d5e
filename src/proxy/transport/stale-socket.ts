import { lstat, unlink } from "node:fs/promises";
import { connect } from "node:net";
import { ListenError } from "../data-plane-api.ts";

/**
 * Removes the file that a process which died left at `path`, so that the path can be bound again. A socket somebody
 * still listens on stays, and so does anything that is no socket.
 * @throws ListenError `EADDRINUSE` when the path is taken.
 */
export async function removeStaleSocket(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return; // Nothing there, or a directory we may not enter: binding says which.
  const address = `unix:${path}`;
  if (!found.isSocket()) throw new ListenError("EEXIST", address, `${path} exists and is no socket`);
  if (await hasListener(path)) throw new ListenError("EADDRINUSE", address, `another process listens on ${path}`);
  await unlink(path).catch(() => {});
}

/** Only a refused connection proves that nobody listens; a full backlog, say, does not. */
function hasListener(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    const answer = (listens: boolean): void => {
      socket.destroy();
      resolve(listens);
    };
    socket.setTimeout(1_000, () => answer(true));
    socket.once("connect", () => answer(true));
    socket.once("error", (error: NodeJS.ErrnoException) => answer(error.code !== "ECONNREFUSED"));
  });
}
