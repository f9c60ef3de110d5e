/* The body that load generator and backend agree on, and a reader that checks it byte for byte.
 *
 * Byte i of every body is 'a' + i % 26, so a proxy that loses, repeats or mixes up bytes is noticed, whatever
 * its buffers look like. Content-Length and chunked bodies go through the same reader. */
#ifndef SPILLWAY_BENCH_BODY_H
#define SPILLWAY_BENCH_BODY_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { PERIOD = 26, PATTERN_BYTES = 1 << 20 };
static char pattern[PATTERN_BYTES + PERIOD];

static void pattern_init(void) {
  for (size_t i = 0; i < sizeof pattern; i++) pattern[i] = (char)('a' + i % PERIOD);
}

/* Copies bytes `at` to `at + n` of the agreed body. */
static void pattern_copy(char *to, uint64_t at, size_t n) {
  while (n > 0) {
    size_t piece = n < PATTERN_BYTES ? n : PATTERN_BYTES;
    memcpy(to, pattern + at % PERIOD, piece);
    to += piece, at += piece, n -= piece;
  }
}

static int pattern_equals(const char *data, uint64_t at, size_t n) {
  while (n > 0) {
    size_t piece = n < PATTERN_BYTES ? n : PATTERN_BYTES;
    if (memcmp(data, pattern + at % PERIOD, piece) != 0) return 0;
    data += piece, at += piece, n -= piece;
  }
  return 1;
}

/* Appends `n` body bytes as chunks of at most 16 KiB with the final chunk; returns the end. */
static char *write_chunked(char *to, size_t n) {
  for (uint64_t at = 0; at < n;) {
    size_t piece = n - at < 16384 ? n - at : 16384;
    to += sprintf(to, "%zx\r\n", piece);
    pattern_copy(to, at, piece);
    to += piece, at += piece;
    *to++ = '\r', *to++ = '\n';
  }
  memcpy(to, "0\r\n\r\n", 5);
  return to + 5;
}

/* Room that write_chunked may need for `n` bytes. */
static size_t chunked_room(size_t n) { return n + (n / 16384 + 2) * 16; }

enum body_at { BODY_LENGTH, CHUNK_SIZE, CHUNK_LINE_END, CHUNK_DATA, CHUNK_CR, CHUNK_LF, TRAILER, TRAILER_LINE, LAST_LF, BODY_DONE };

struct body {
  enum body_at at;
  int digits;    /* of the chunk size */
  uint64_t left; /* of the body, or of the chunk */
  uint64_t seen; /* body bytes so far */
};

static void body_start(struct body *body, int chunked, uint64_t length) {
  body->at = chunked ? CHUNK_SIZE : length == 0 ? BODY_DONE : BODY_LENGTH;
  body->digits = 0;
  body->left = chunked ? 0 : length;
  body->seen = 0;
}

/* Takes what belongs to the body and returns how much that was, or -1 when it is malformed or not as agreed. */
static ptrdiff_t body_take(struct body *body, const char *data, size_t n) {
  size_t i = 0;
  while (i < n && body->at != BODY_DONE) {
    char c = data[i];
    switch (body->at) {
      case BODY_LENGTH:
      case CHUNK_DATA: {
        size_t piece = body->left < n - i ? (size_t)body->left : n - i;
        if (!pattern_equals(data + i, body->seen, piece)) return -1;
        body->seen += piece, body->left -= piece, i += piece;
        if (body->left == 0) body->at = body->at == BODY_LENGTH ? BODY_DONE : CHUNK_CR;
        continue;
      }
      case CHUNK_SIZE: {
        int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (digit >= 0 && body->digits < 15) body->left = body->left * 16 + (unsigned)digit, body->digits++;
        else if ((c == '\r' || c == ';') && body->digits > 0) body->at = CHUNK_LINE_END;
        else return -1;
        break;
      }
      case CHUNK_LINE_END:
        if (c == '\n') body->at = body->left > 0 ? CHUNK_DATA : TRAILER;
        break;
      case CHUNK_CR:
        if (c != '\r') return -1;
        body->at = CHUNK_LF;
        break;
      case CHUNK_LF:
        if (c != '\n') return -1;
        body->at = CHUNK_SIZE, body->digits = 0;
        break;
      case TRAILER:
        body->at = c == '\r' ? LAST_LF : TRAILER_LINE;
        break;
      case TRAILER_LINE:
        if (c == '\n') body->at = TRAILER;
        break;
      case LAST_LF:
        if (c != '\n') return -1;
        body->at = BODY_DONE;
        break;
      case BODY_DONE:
        break;
    }
    i++;
  }
  return (ptrdiff_t)i;
}

/* What a head says about its message. `end` is the offset behind the empty line. */
struct head {
  size_t end;
  int chunked;
  int close;
  int has_length;
  uint64_t length;
};

/* Reads the fields that matter here; 1 when the head is whole, 0 when bytes are missing. */
static int head_read(struct head *head, const char *data, size_t n) {
  const char *end = memmem(data, n, "\r\n\r\n", 4);
  if (end == NULL) return 0;
  memset(head, 0, sizeof *head);
  head->end = (size_t)(end - data) + 4;
  for (const char *line = memchr(data, '\n', n); line != NULL && line < end; line = memchr(line, '\n', (size_t)(end + 2 - line))) {
    line++;
    if (line >= end) break;
    char first = (char)(*line | 32);
    if (first == 'c' && strncasecmp(line, "content-length:", 15) == 0) head->has_length = 1, head->length = strtoull(line + 15, NULL, 10);
    else if (first == 't' && strncasecmp(line, "transfer-encoding: chunked", 26) == 0) head->chunked = 1;
    else if (first == 'c' && strncasecmp(line, "connection: close", 17) == 0) head->close = 1;
  }
  return 1;
}

static void die(const char *what) {
  perror(what);
  exit(1);
}

#endif
