/** Opcodes (RFC 6455 section 11.8). */
const CONTINUATION = 0x0;
const BINARY = 0x2;
const CLOSE = 0x8;
const PONG = 0xa;

const FIN = 0x80;
/** Bits that no registered extension uses. RSV1 says that a message is compressed (RFC 7692). */
const RSV2_AND_RSV3 = 0x30;
const MASKED = 0x80;
/** Payload lengths in the second byte that say: the length follows, in 2 bytes, in 8 bytes. */
const LENGTH_IN_2 = 126;
const LENGTH_IN_8 = 127;

/** Where the next byte belongs. */
const FIRST = 0;
const SECOND = 1;
const LENGTH = 2;
/** The masking key and the payload, which are only counted. */
const REST = 3;
const OVER = 4;
const LOST = 5;

/**
 * Follows the frames of one direction of a WebSocket, whoever sends them, and says where one more could be put between
 * them. Nothing is kept or decoded: of a long frame only its length is looked at.
 *
 * It is no validator: the ends are. But what breaks the rules of framing (RFC 6455 section 5.2: a reserved opcode, a
 * length that is too large or written too long, a control frame in fragments, a fragment of nothing) is perhaps no
 * WebSocket at all, and then no boundary is one.
 */
export class WebSocketFrames {
  #state = FIRST;
  /** A message has begun whose last fragment has not come. */
  #fragmented = false;
  /** Of the frame that passes. */
  #control = false;
  #closing = false;
  /** Bytes of the length that are to come. */
  #lengthBytes = 0;
  #longLength = false;
  /** The length as far as it has come, then the bytes that are to come behind it. */
  #left = 0;
  #maskBytes = 0;

  /** Only whole messages have passed, and another frame may follow: none does after a Close (section 5.5.1). */
  get atBoundary(): boolean {
    return this.#state === FIRST && !this.#fragmented;
  }

  /** What passes is no WebSocket framing: there will be no boundary again. */
  get lost(): boolean {
    return this.#state === LOST;
  }

  /** `bytes[from, to)` pass. */
  feed(bytes: Uint8Array, from: number, to: number): void {
    for (let at = from; at < to; ) {
      switch (this.#state) {
        case FIRST:
          this.#first(bytes[at++]!);
          break;
        case SECOND:
          this.#second(bytes[at++]!);
          break;
        case LENGTH:
          this.#left = this.#left * 256 + bytes[at++]!;
          if (--this.#lengthBytes === 0) this.#hasLength();
          break;
        case REST: {
          const step = Math.min(this.#left, to - at);
          at += step;
          this.#left -= step;
          if (this.#left === 0) this.#whole();
          break;
        }
        default:
          return;
      }
    }
  }

  #first(byte: number): void {
    const opcode = byte & 0x0f;
    const fin = (byte & FIN) !== 0;
    const control = opcode >= CLOSE;
    const known = control ? opcode <= PONG && fin : opcode <= BINARY && (opcode === CONTINUATION) === this.#fragmented;
    if (!known || (byte & RSV2_AND_RSV3) !== 0) {
      this.#state = LOST;
      return;
    }
    if (!control) this.#fragmented = !fin;
    this.#closing = opcode === CLOSE;
    this.#control = control;
    this.#state = SECOND;
  }

  #second(byte: number): void {
    const length = byte & 0x7f;
    this.#maskBytes = (byte & MASKED) === 0 ? 0 : 4;
    if (length < LENGTH_IN_2) {
      this.#left = length;
      this.#lengthKnown();
    } else if (this.#control) {
      this.#state = LOST;
    } else {
      this.#left = 0;
      this.#longLength = length === LENGTH_IN_8;
      this.#lengthBytes = this.#longLength ? 8 : 2;
      this.#state = LENGTH;
    }
  }

  #hasLength(): void {
    // Minimal, as section 5.2 demands, and one that can be counted: above 2^53 nothing real is.
    const least = this.#longLength ? 0x1_0000 : LENGTH_IN_2;
    if (this.#left < least || this.#left > Number.MAX_SAFE_INTEGER - 4) this.#state = LOST;
    else this.#lengthKnown();
  }

  #lengthKnown(): void {
    this.#left += this.#maskBytes;
    if (this.#left === 0) this.#whole();
    else this.#state = REST;
  }

  #whole(): void {
    this.#state = this.#closing ? OVER : FIRST;
  }
}

/**
 * A Close frame of a server's (RFC 6455 section 5.5.1): not masked. `reason` has at most 123 bytes in UTF-8; a RangeError
 * when it has more.
 */
export function closeFrame(code: number, reason: string): Buffer {
  const text = Buffer.from(reason, "utf8");
  if (text.length > 123) throw new RangeError(`the reason of a Close has at most 123 bytes, not ${text.length}`);
  return Buffer.concat([Buffer.from([FIN | CLOSE, 2 + text.length, code >> 8, code & 0xff]), text]);
}
