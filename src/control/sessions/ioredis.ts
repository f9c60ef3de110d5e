/** The little we use of an ioredis client. It is optional and so need not be there when types are checked. */
export interface RedisClient {
  readonly status: string;
  /** The socket, once there has been one. */
  readonly stream: { destroy(): void } | null | undefined;
  on(event: "connect" | "ready" | "close", listener: () => void): void;
  on(event: "error", listener: (error: Error) => void): void;
  connect(): Promise<void>;
  disconnect(): void;
  defineCommand(name: string, definition: { readonly numberOfKeys: number; readonly lua: string }): void;
  get(key: string): Promise<string | null>;
  /** What `defineCommand` makes. */
  spillwayPlace(key: string, address: string, ttlMs: number, ...instead: string[]): Promise<string>;
}

export type RedisConstructor = new (options: Readonly<Record<string, unknown>>) => RedisClient;

/** The package ioredis, or undefined where it is not installed or does not load. */
export async function loadIoredis(): Promise<RedisConstructor | undefined> {
  const name: string = "ioredis";
  try {
    const loaded = (await import(name)) as { default: RedisConstructor };
    return loaded.default;
  } catch {
    return undefined;
  }
}
