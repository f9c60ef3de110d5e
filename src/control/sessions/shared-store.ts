import type { SessionStoreView } from "../../metrics/snapshot.ts";

/**
 * What a store says of a session: the address of its backend, undefined where it knows none. `failed`: it could not be
 * asked, or did not answer in time.
 */
export type StoreAnswer = (address: string | undefined, failed: boolean) => void;

/** What people may know of a store. */
export type StoreView = Omit<SessionStoreView, "upstream">;

/**
 * Where the sessions of one upstream are kept for all who share them. Nothing throws; every answer is given once, at
 * once or within the time limit of the store.
 */
export interface SharedStore {
  readonly view: StoreView;
  /** `recovered` is called whenever it can be asked again, or for the first time: it may know nothing of what it was told. */
  listen(recovered: () => void): void;
  /** Gets ready. Resolves soon, whether that went well or not. */
  start(): Promise<void>;
  find(key: string, answer: StoreAnswer): void;
  /**
   * Compare and set. A session that belongs to nobody, to one of `instead` or to `address` already belongs to `address`
   * for `ttlMs` from now on; any other stays where it is for as long. The answer says to whom it belongs now.
   */
  place(key: string, address: string, instead: readonly string[], ttlMs: number, answer: StoreAnswer): void;
  /** Ends it. What is asked from here on has failed. */
  close(): void;
}
