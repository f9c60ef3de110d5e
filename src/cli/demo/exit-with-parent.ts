/*
 * Loaded into a child before its program (`node --import`): ends it when its parent is gone, however that died. The
 * channel to the parent closes then, which nothing can prevent.
 */
import { isMainThread } from "node:worker_threads";

if (isMainThread && process.connected) {
  process.once("disconnect", () => process.kill(process.pid, "SIGTERM"));
  process.channel?.unref();
}
