/** What a connection tells its owner. Exactly one owner at a time; a handler that throws loses its connection only. */
export interface ConnectionHandler {
  /**
   * Bytes arrived: `bytes[from, to)`. They are only lent: what is needed after the call must be written or copied in it.
   * An owner that cannot take them copies them and pauses the connection.
   */
  bytes(bytes: Buffer, from: number, to: number): void;
  /** What a write could not hand to the kernel at once has been taken now. */
  drained(): void;
  /** The peer will send no more; it may still read. */
  ended(): void;
  /** The connection is gone; the last call a handler gets. */
  closed(error: Error | undefined): void;
}

/**
 * A byte stream, whatever carries it. Codec, exchange and pool see nothing else of the network, so that another engine
 * can be put below them.
 */
export interface Connection {
  handler: ConnectionHandler;
  /** IP address of the peer; empty on a Unix socket. */
  readonly peer: string;
  /** Whether written bytes still wait for the kernel. */
  readonly unsent: boolean;
  /**
   * Writes latin1 text, one byte a character. A string is never lent: it may wait as long as it must. Little text is
   * gathered until this turn of the event loop ends.
   * @returns false when much of it waits: stop producing until `drained`
   */
  write(text: string): boolean;
  /** Writes now what was gathered. */
  flush(): void;
  /**
   * Writes bytes without copying them.
   * @returns true when the kernel took all; false: leave them alone until `drained`
   */
  writeLent(bytes: Uint8Array): boolean;
  pause(): void;
  resume(): void;
  /** Following reads go into `buffer`, undefined: into the buffer shared by all connections of the thread. */
  readInto(buffer: Buffer | undefined): void;
  /** Runs `step` when other connections have had their turn; what it throws costs this connection, as in a handler. */
  later(step: () => void): void;
  /** No more is written; what was written is still sent, and the peer may go on sending. */
  end(): void;
  /** Gone at once, in order (FIN) where the kernel has taken everything and was read empty. */
  destroy(): void;
  /** Gone at once with a reset (RST), so that the peer can tell it from a clean end. */
  reset(): void;
}

/** A handler for a connection that nobody owns: whatever comes is ignored. */
export const NOBODY: ConnectionHandler = {
  bytes() {},
  drained() {},
  ended() {},
  closed() {},
};
