/** Spillway cannot start for a reason that lies outside it; the message says which, and what to do. */
export class StartError extends Error {
  override readonly name = "StartError";
}
