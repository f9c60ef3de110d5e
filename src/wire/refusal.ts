/** Why a message is refused: the status to answer with, and a sentence for log and body. */
export interface Refusal {
  readonly status: number;
  /** A stable word for metrics and logs. */
  readonly code: string;
  readonly message: string;
}

const refusal = (status: number, code: string, message: string): Refusal => ({ status, code, message });

/** Everything the parsers refuse. After each of them the connection is closed: what follows cannot be trusted. */
export const REFUSALS = {
  method: refusal(400, "bad-method", "The method is not a token (RFC 9110 section 9.1)."),
  methodLength: refusal(501, "unknown-method", "The method is longer than any known one."),
  methodRefused: refusal(405, "method-not-allowed", "CONNECT and TRACE are not served here."),
  requestLine: refusal(
    400,
    "bad-request-line",
    "The request line is not `method SP target SP version` (RFC 9112 section 3).",
  ),
  target: refusal(
    400,
    "bad-target",
    "The request target is not a valid origin, absolute or asterisk form (RFC 9112 section 3.2).",
  ),
  targetLength: refusal(414, "target-too-long", "The request target is longer than limits.targetBytes."),
  version: refusal(505, "bad-version", "Only HTTP/1.0 and HTTP/1.1 are spoken here."),
  statusLine: refusal(502, "bad-status-line", "The status line is malformed (RFC 9112 section 4)."),
  lineEnd: refusal(400, "bad-line-end", "A line does not end with CR LF (RFC 9112 section 2.2)."),
  fieldName: refusal(
    400,
    "bad-field-name",
    "A field name is empty, is not a token, or is followed by white space (RFC 9112 section 5.1).",
  ),
  fieldValue: refusal(400, "bad-field-value", "A field value holds a control byte (RFC 9110 section 5.5)."),
  headBytes: refusal(431, "head-too-large", "The head is larger than limits.headBytes."),
  headFields: refusal(431, "too-many-fields", "The head has more fields than limits.headFields."),
  hostMissing: refusal(400, "no-host", "HTTP/1.1 needs a Host field (RFC 9112 section 3.2)."),
  hostTwice: refusal(400, "two-hosts", "There is more than one Host field (RFC 9112 section 3.2)."),
  host: refusal(400, "bad-host", "Host is not `host[:port]` (RFC 9110 section 7.2)."),
  length: refusal(400, "bad-content-length", "Content-Length is not one decimal number (RFC 9110 section 8.6)."),
  lengthTwice: refusal(400, "two-content-lengths", "There is more than one Content-Length."),
  twoFramings: refusal(
    400,
    "two-framings",
    "Content-Length and Transfer-Encoding contradict each other (RFC 9112 section 6.1).",
  ),
  codingNotFinal: refusal(
    400,
    "chunked-not-final",
    "Transfer-Encoding must be chunked, once and last (RFC 9112 section 6.1).",
  ),
  codingUnknown: refusal(501, "unknown-transfer-coding", "No transfer coding but chunked is understood."),
  codingVersion: refusal(400, "chunked-in-1.0", "HTTP/1.0 has no Transfer-Encoding (RFC 9112 section 6.1)."),
  interimBody: refusal(400, "interim-with-body", "An interim response (1xx) has no body (RFC 9110 section 15.2)."),
  expectation: refusal(
    417,
    "unknown-expectation",
    "No expectation but 100-continue is understood (RFC 9110 section 10.1.1).",
  ),
  bodyBytes: refusal(413, "body-too-large", "The body is larger than limits.bodyBytes."),
  chunkSize: refusal(
    400,
    "bad-chunk-size",
    "A chunk does not begin with its size in hexadecimal (RFC 9112 section 7.1).",
  ),
  chunkEnd: refusal(400, "bad-chunk-end", "A chunk does not end with CR LF (RFC 9112 section 7.1)."),
  chunkExtension: refusal(
    400,
    "bad-chunk-extension",
    "Chunk extensions are malformed or larger than limits.chunkExtensionBytes.",
  ),
  trailer: refusal(400, "bad-trailer", "The trailer section is malformed or larger than limits.headBytes."),
} as const satisfies Record<string, Refusal>;
