/* The load generator of the benchmarks: a closed loop, one request in flight per connection, every answer checked.
 *
 *   load --port P [--connections N] [--path /x] [--expect BYTES] [--fields FILE] [--post BYTES [--chunked]]
 *        [--seconds S] [--requests N] [--close] [--steps] [--hold]
 *
 * Ends after S seconds or N requests, whichever comes first; one of them is needed unless it holds.
 * --fields  extra request fields, one a line, each ended by CR LF; Host is always sent. An empty line begins the fields of
 *           the next connection; when there are more connections than such blocks, they start again with the first
 * --close   a new connection for each request, with Connection: close; the server closes first, as it does for a real client
 * --steps   prints `ready` when every connection is open and has had one answer, starts on a line from standard input,
 *           prints the result, and keeps the connections open until the input ends: whoever measures the server can
 *           leave out connecting and closing
 * --hold    with --steps: the line from standard input does not start the load but counts the connections still open
 *
 * The result is one line of JSON. An answer that is not 200, not framed rightly, not of the expected length or not the
 * agreed bytes is an error with its reason; so is a connection that breaks, and ten seconds without any answer. */
#define _GNU_SOURCE
#include "body.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READ_BYTES = 256 << 10, HEAD_BYTES = 16 << 10, FIELDS_BYTES = 1 << 20, EVENTS = 1024, MAX_ERRORS = 1000, OPENING_AT_ONCE = 64, MAX_REASONS = 24 };
#define STALL_NS 10000000000ull

struct request {
  char *data;
  size_t bytes;
};

struct connection {
  int fd; /* -1: closed */
  int busy;
  int in_body;
  int finished; /* answered, waits for the server's close */
  int waits_for_room;
  uint64_t began_ns;
  const struct request *request;
  size_t sent;
  struct body body;
  size_t head_bytes;
  char *head;
};

static struct { int port, connections, post, chunked, close, steps, hold; double seconds; uint64_t requests, expect; const char *path, *fields; } options =
  { .connections = 64, .post = -1, .path = "/", .expect = 13 };

static struct request *requests;
static int request_count;
static struct connection *connections;
static char buffer[READ_BYTES + HEAD_BYTES];
static int poller;
static uint64_t now_ns, deadline_ns, last_answer_ns;
static int opening, to_open, busy_count, running;
static uint64_t started, completed, errors;
static struct { const char *text; int status; uint64_t count; } reasons[MAX_REASONS];

/* Latency: 32 steps per power of two of microseconds, so a quantile is off by 3 % at most. */
static uint64_t histogram[64 * 32];

static uint64_t clock_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static void histogram_add(uint64_t ns) {
  uint64_t us = ns / 1000;
  int shift = us < 32 ? 0 : 58 - __builtin_clzll(us);
  histogram[shift * 32 + (int)(us >> shift)]++;
}

static double histogram_quantile(double q) {
  uint64_t total = 0, seen = 0;
  for (int i = 0; i < 64 * 32; i++) total += histogram[i];
  for (int i = 0; i < 64 * 32; i++) {
    seen += histogram[i];
    if (seen > 0 && (double)seen >= q * (double)total) {
      int shift = i < 64 ? 0 : i / 32 - 1;
      return (double)((uint64_t)(i - shift * 32) << shift);
    }
  }
  return 0;
}

static void start(struct connection *c);

static void watch(struct connection *c, int operation, int room) {
  c->waits_for_room = room;
  struct epoll_event event = { .events = room ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = c };
  if (epoll_ctl(poller, operation, c->fd, &event) != 0) die("load: epoll_ctl");
}

static void shut(struct connection *c) {
  if (c->fd >= 0) close(c->fd);
  c->fd = -1;
  c->head_bytes = 0;
  if (c->busy) c->busy = 0, busy_count--;
}

static int may_start(void) {
  if (opening) return to_open > 0;
  if (!running || errors >= MAX_ERRORS) return 0;
  return (options.requests == 0 || started < options.requests) && (options.seconds == 0 || now_ns < deadline_ns);
}

static void fail(struct connection *c, const char *text, int status) {
  errors++;
  for (int i = 0; i < MAX_REASONS; i++) {
    if (reasons[i].text == NULL) reasons[i].text = text, reasons[i].status = status;
    if (reasons[i].text != text || reasons[i].status != status) continue;
    reasons[i].count++;
    break;
  }
  shut(c);
  if (opening && errors < MAX_ERRORS) to_open++; /* this one again */
  if (may_start()) start(c);
}

static void send_rest(struct connection *c) {
  while (c->sent < c->request->bytes) {
    ssize_t n = send(c->fd, c->request->data + c->sent, c->request->bytes - c->sent, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
      if (!c->waits_for_room) watch(c, EPOLL_CTL_MOD, 1);
      return;
    }
    if (n < 0) return fail(c, "connection broke while sending", 0);
    c->sent += (size_t)n;
  }
  if (c->waits_for_room) watch(c, EPOLL_CTL_MOD, 0);
}

static void start(struct connection *c) {
  started++;
  if (opening) to_open--;
  c->busy = 1, c->in_body = 0, c->finished = 0, c->sent = 0, c->began_ns = now_ns;
  busy_count++;
  if (c->fd < 0) {
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)options.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("load: socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0 && errno != EINPROGRESS) return fail(c, "connect failed", 0);
    watch(c, EPOLL_CTL_ADD, 0);
  }
  send_rest(c);
}

static void next(struct connection *c) {
  c->busy = 0, busy_count--;
  if (may_start()) {
    /* While opening, the next answer comes from a connection that is not open yet. */
    if (!opening) return start(c);
    for (int i = options.connections - to_open; i < options.connections; i++)
      if (connections[i].fd < 0) return start(&connections[i]);
  }
}

static void answered(struct connection *c) {
  if (c->sent < c->request->bytes) return fail(c, "answered before the request was sent", 0);
  if (c->body.seen != options.expect) return fail(c, "body of another length", 0);
  now_ns = clock_ns();
  last_answer_ns = now_ns;
  if (running) completed++, histogram_add(now_ns - c->began_ns);
  if (options.close) c->finished = 1;
  else next(c);
}

static void take(struct connection *c, const char *data, size_t n) {
  if (!c->busy || c->finished) return fail(c, "bytes without a request", 0);
  if (!c->in_body) {
    struct head head;
    if (!head_read(&head, data, n)) {
      if (n > HEAD_BYTES) return fail(c, "head without end", 0);
      if (c->head == NULL && (c->head = malloc(HEAD_BYTES)) == NULL) die("malloc");
      memmove(c->head, data, n);
      c->head_bytes = n;
      return;
    }
    c->head_bytes = 0;
    if (head.end < 16 || memcmp(data, "HTTP/1.1 ", 9) != 0) return fail(c, "not an HTTP/1.1 answer", 0);
    int status = atoi(data + 9);
    if (status != 200) return fail(c, "status", status);
    if (head.chunked == head.has_length) return fail(c, "no framing, or two", 0);
    if (options.close != head.close) return fail(c, options.close ? "Connection: close missing" : "Connection: close unasked", 0);
    body_start(&c->body, head.chunked, head.length);
    c->in_body = 1;
    data += head.end, n -= head.end;
  }
  ptrdiff_t used = body_take(&c->body, data, n);
  if (used < 0) return fail(c, "body malformed or altered", 0);
  if ((size_t)used < n) return fail(c, "bytes behind the answer", 0);
  if (c->body.at == BODY_DONE) answered(c);
}

static void readable(struct connection *c) {
  if (c->head_bytes > 0) memcpy(buffer, c->head, c->head_bytes);
  ssize_t n = recv(c->fd, buffer + c->head_bytes, READ_BYTES, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n > 0) return take(c, buffer, c->head_bytes + (size_t)n);
  if (n == 0 && c->finished) {
    shut(c);
    if (may_start()) start(c);
    return;
  }
  fail(c, n == 0 ? "closed before the whole answer" : "connection broke", 0);
}

/* Until nothing is in flight any more. */
static void turn_until_done(void) {
  struct epoll_event events[EVENTS];
  last_answer_ns = now_ns = clock_ns();
  while (busy_count > 0) {
    int count = epoll_wait(poller, events, EVENTS, 100);
    now_ns = clock_ns();
    if (count == 0 && now_ns - last_answer_ns > STALL_NS) {
      running = opening = 0;
      for (int i = 0; i < options.connections; i++)
        if (connections[i].busy) fail(&connections[i], "no answer for ten seconds", 0);
      return;
    }
    for (int i = 0; i < count; i++) {
      struct connection *c = events[i].data.ptr;
      if (c->fd < 0) continue;
      if (events[i].events & EPOLLOUT && c->waits_for_room) send_rest(c);
      if (c->fd >= 0 && events[i].events & ~(uint32_t)EPOLLOUT) readable(c);
    }
  }
}

static void open_all(void) {
  opening = 1, to_open = options.connections;
  now_ns = clock_ns();
  for (int i = 0; i < options.connections && i < OPENING_AT_ONCE; i++) start(&connections[i]);
  turn_until_done();
  opening = 0, started = 0;
}

static void run(void) {
  running = 1;
  now_ns = clock_ns();
  uint64_t began_ns = now_ns;
  deadline_ns = now_ns + (uint64_t)(options.seconds * 1e9);
  for (int i = 0; i < options.connections && may_start(); i++)
    if (!connections[i].busy) start(&connections[i]);
  turn_until_done();
  running = 0;
  printf("{\"completed\":%llu,\"errors\":%llu,\"seconds\":%.6f,\"p50Us\":%.0f,\"p99Us\":%.0f,\"reasons\":{", (unsigned long long)completed,
         (unsigned long long)errors, (double)(now_ns - began_ns) / 1e9, histogram_quantile(0.5), histogram_quantile(0.99));
  for (int i = 0; i < MAX_REASONS && reasons[i].text != NULL; i++) {
    printf("%s\"%s", i > 0 ? "," : "", reasons[i].text);
    if (reasons[i].status != 0) printf(" %d", reasons[i].status);
    printf("\":%llu", (unsigned long long)reasons[i].count);
  }
  printf("}}\n");
  fflush(stdout);
}

static void count_open(void) {
  int open = 0;
  for (int i = 0; i < options.connections; i++) {
    char byte;
    if (connections[i].fd >= 0 && recv(connections[i].fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN) open++;
  }
  printf("{\"open\":%d,\"closed\":%d,\"errors\":%llu}\n", open, options.connections - open, (unsigned long long)errors);
  fflush(stdout);
}

/* With the extra fields in `fields`. */
static void build_request(const char *fields, size_t fields_bytes) {
  size_t body = options.post > 0 ? (size_t)options.post : 0;
  requests = realloc(requests, (size_t)(request_count + 1) * sizeof *requests);
  char *data = malloc(1024 + strlen(options.path) + fields_bytes + chunked_room(body));
  if (requests == NULL || data == NULL) die("malloc");
  char *end = data + sprintf(data, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n", options.post >= 0 ? "POST" : "GET", options.path, options.port);
  memcpy(end, fields, fields_bytes);
  end += fields_bytes;
  if (options.close) end += sprintf(end, "Connection: close\r\n");
  if (options.post >= 0 && options.chunked) end += sprintf(end, "Transfer-Encoding: chunked\r\n");
  else if (options.post >= 0) end += sprintf(end, "Content-Length: %zu\r\n", body);
  end += sprintf(end, "\r\n");
  if (options.post >= 0 && options.chunked) end = write_chunked(end, body);
  else pattern_copy(end, 0, body), end += body;
  requests[request_count++] = (struct request){ data, (size_t)(end - data) };
}

/* One for each block of fields; without any, one that has none. */
static void build_requests(void) {
  static char fields[FIELDS_BYTES];
  size_t bytes = 0;
  if (options.fields != NULL) {
    FILE *file = fopen(options.fields, "r");
    if (file == NULL) die(options.fields);
    bytes = fread(fields, 1, sizeof fields, file);
    if (bytes == sizeof fields) fprintf(stderr, "load: %s: too many fields\n", options.fields), exit(2);
    fclose(file);
  }
  const char *at = fields, *end = fields + bytes, *gap;
  for (; (gap = memmem(at, (size_t)(end - at), "\r\n\r\n", 4)) != NULL; at = gap + 4) build_request(at, (size_t)(gap + 2 - at));
  build_request(at, (size_t)(end - at));
}

static void read_options(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    const char *name = argv[i];
    if (strcmp(name, "--close") == 0) options.close = 1;
    else if (strcmp(name, "--steps") == 0) options.steps = 1;
    else if (strcmp(name, "--hold") == 0) options.hold = options.steps = 1;
    else if (strcmp(name, "--chunked") == 0) options.chunked = 1;
    else if (i + 1 == argc) fprintf(stderr, "load: %s: unknown, or its value is missing\n", name), exit(2);
    else if (strcmp(name, "--port") == 0) options.port = atoi(argv[++i]);
    else if (strcmp(name, "--connections") == 0) options.connections = atoi(argv[++i]);
    else if (strcmp(name, "--path") == 0) options.path = argv[++i];
    else if (strcmp(name, "--expect") == 0) options.expect = strtoull(argv[++i], NULL, 10);
    else if (strcmp(name, "--fields") == 0) options.fields = argv[++i];
    else if (strcmp(name, "--post") == 0) options.post = atoi(argv[++i]);
    else if (strcmp(name, "--seconds") == 0) options.seconds = atof(argv[++i]);
    else if (strcmp(name, "--requests") == 0) options.requests = strtoull(argv[++i], NULL, 10);
    else fprintf(stderr, "load: %s: unknown option\n", name), exit(2);
  }
  if (!options.hold && options.seconds <= 0 && options.requests == 0) fprintf(stderr, "load: --seconds or --requests is needed\n"), exit(2);
  if (options.port <= 0 || options.connections <= 0) fprintf(stderr, "load: --port and a positive number of connections are needed\n"), exit(2);
}

static void wait_for_line(void) {
  char line[64];
  if (fgets(line, sizeof line, stdin) == NULL) exit(0);
}

int main(int argc, char **argv) {
  read_options(argc, argv);
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  signal(SIGPIPE, SIG_IGN);
  pattern_init();
  build_requests();
  poller = epoll_create1(EPOLL_CLOEXEC);
  connections = calloc((size_t)options.connections, sizeof *connections);
  if (connections == NULL) die("calloc");
  for (int i = 0; i < options.connections; i++) connections[i].fd = -1, connections[i].request = &requests[i % request_count];

  if (!options.close) open_all();
  if (options.steps) {
    puts("ready");
    fflush(stdout);
    wait_for_line();
  }
  if (options.hold) count_open();
  else run();
  if (options.steps) wait_for_line();
  return errors > 0 ? 1 : 0;
}
