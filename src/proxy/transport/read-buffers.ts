/** Bytes of one read: at 1 MiB bodies 256 KiB cost 0.7 of 64 KiB, and more gains nothing. */
export const READ_BYTES = 256 * 1024;
/** Room in a bulk buffer for a head in front of the first piece of a body, so that both go out in one write. */
const HEAD_ROOM = 80 * 1024;
/** Bulk buffers of a thread at most: what stalled large transfers may hold together (84 MiB). */
const MAX_BULK_BUFFERS = 256;
const MAX_SPARE_BUFFERS = 16;

/**
 * The read buffers of one thread.
 *
 * All connections read into one shared buffer; its bytes are consumed before the next read. A transfer that arrives in
 * large pieces gets a bulk buffer of its own, from which it is written without copying. When all bulk buffers are out,
 * transfers go on through the shared one, in strings.
 */
export class ReadBuffers {
  readonly shared: Buffer = Buffer.allocUnsafeSlow(READ_BYTES);
  readonly #spare: Buffer[] = [];
  #out = 0;

  /** Bulk buffers in use. */
  get out(): number {
    return this.#out;
  }

  /** A buffer for one large transfer, or undefined when too many are out. */
  takeBulk(): Buffer | undefined {
    if (this.#out === MAX_BULK_BUFFERS) return undefined;
    this.#out++;
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(READ_BYTES + HEAD_ROOM);
  }

  /** Gives a buffer back that nothing reads into and nothing is written from any more. */
  giveBulk(buffer: Buffer): void {
    this.#out--;
    if (this.#spare.length < MAX_SPARE_BUFFERS) this.#spare.push(buffer);
  }

  /** Gives up a buffer that a socket may still use: the collector takes it. */
  dropBulk(): void {
    this.#out--;
  }
}
