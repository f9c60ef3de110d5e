/* The backend of the benchmarks: fixed answers on several ports, one thread, as little CPU as possible.
 *
 *   backend PORT [PORT ...]
 *
 * GET /      13 bytes      GET /N    N bytes, Content-Length      GET /cN   N bytes, chunked
 * GET /sN    13 bytes, and a cookie that begins session N: SID and N as 16 hexadecimal digits
 * POST any   the body (Content-Length or chunked) is read and checked, then 13 bytes; 400 when it is not the agreed one
 * It ends when its standard input ends, so that it never outlives the bench that started it. */
#define _GNU_SOURCE
#include "body.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 256 << 10, HEAD_BYTES = 32 << 10, MAX_ANSWERS = 256, MAX_BODY = 64 << 20, EVENTS = 512 };

/* An answer is built once and kept: head and body in one piece, so one write sends it. */
struct answer {
  uint64_t body, session; /* session 0: begins none */
  int chunked, close;
  size_t bytes;
  char *data;
};

struct connection {
  int fd;
  int listening;
  int waits_for_room; /* registered for EPOLLOUT */
  int reading_body;
  int bad;
  int close;
  struct body body;
  const struct answer *answer; /* to send once the request was read whole */
  const struct answer *sending;
  size_t sent;
  size_t head_bytes; /* kept from earlier reads */
  char *head;
};

static struct answer answers[MAX_ANSWERS];
static int answer_count;
static struct answer refusal;
static char buffer[READ_BYTES + HEAD_BYTES];
static int poller;

static const struct answer *answer_for(uint64_t body, uint64_t session, int chunked, int close) {
  for (int i = 0; i < answer_count; i++)
    if (answers[i].body == body && answers[i].session == session && answers[i].chunked == chunked && answers[i].close == close) return &answers[i];
  if (answer_count == MAX_ANSWERS || body > MAX_BODY) return &refusal;
  struct answer *answer = &answers[answer_count++];
  answer->body = body, answer->session = session, answer->chunked = chunked, answer->close = close;
  answer->data = malloc(256 + chunked_room(body));
  if (answer->data == NULL) die("malloc");
  char *end = answer->data + sprintf(answer->data, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n%s", close ? "Connection: close\r\n" : "");
  if (session != 0) end += sprintf(end, "Set-Cookie: SID=%016llx; Path=/\r\n", (unsigned long long)session);
  if (chunked) {
    end += sprintf(end, "Transfer-Encoding: chunked\r\n\r\n");
    end = write_chunked(end, body);
  } else {
    end += sprintf(end, "Content-Length: %llu\r\n\r\n", (unsigned long long)body);
    pattern_copy(end, 0, body);
    end += body;
  }
  answer->bytes = (size_t)(end - answer->data);
  return answer;
}

static const struct answer *answer_for_target(const char *target, int close) {
  if (*target++ != '/') return &refusal;
  if (*target == 's') return answer_for(13, strtoull(target + 1, NULL, 10), 0, close);
  int chunked = *target == 'c';
  if (chunked) target++;
  if (*target < '0' || *target > '9') return answer_for(13, 0, 0, close);
  return answer_for(strtoull(target, NULL, 10), 0, chunked, close);
}

static void drop(struct connection *c) {
  close(c->fd);
  free(c->head);
  free(c);
}

static void want(struct connection *c, int room) {
  if (c->waits_for_room == room) return;
  c->waits_for_room = room;
  struct epoll_event event = { .events = room ? EPOLLOUT : EPOLLIN, .data.ptr = c };
  epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
}

/* Sends what is due; 0 when the connection is gone. */
static int flush_answer(struct connection *c) {
  while (c->sent < c->sending->bytes) {
    ssize_t n = send(c->fd, c->sending->data + c->sent, c->sending->bytes - c->sent, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
      want(c, 1);
      return 1;
    }
    if (n < 0) return drop(c), 0;
    c->sent += (size_t)n;
  }
  c->sending = NULL;
  if (c->close) return drop(c), 0;
  want(c, 0);
  return 1;
}

static int answer_now(struct connection *c) {
  c->sending = c->bad ? &refusal : c->answer;
  c->sent = 0;
  c->reading_body = 0;
  if (c->bad) c->close = 1;
  return flush_answer(c);
}

/* Takes request bytes; 0 when the connection is gone. One request at a time: no proxy here pipelines. */
static int take(struct connection *c, const char *data, size_t n) {
  if (!c->reading_body) {
    struct head head;
    if (!head_read(&head, data, n)) {
      if (n > HEAD_BYTES) return drop(c), 0;
      if (c->head == NULL && (c->head = malloc(HEAD_BYTES)) == NULL) die("malloc");
      memmove(c->head, data, n);
      c->head_bytes = n;
      return 1;
    }
    c->head_bytes = 0;
    const char *line_end = memchr(data, '\r', n), *target = memchr(data, ' ', (size_t)(line_end - data));
    if (target == NULL) return drop(c), 0;
    c->close = head.close || line_end[-1] == '0';
    c->bad = 0;
    c->answer = data[0] == 'P' ? answer_for(13, 0, 0, c->close) : answer_for_target(target + 1, c->close);
    body_start(&c->body, head.chunked, head.length);
    c->reading_body = 1;
    data += head.end, n -= head.end;
  }
  ptrdiff_t used = body_take(&c->body, data, n);
  if (used < 0) c->bad = 1;
  if (c->bad || c->body.at == BODY_DONE) {
    if (used >= 0 && (size_t)used != n) c->bad = 1;
    return answer_now(c);
  }
  return 1;
}

static void readable(struct connection *c) {
  if (c->head_bytes > 0) memcpy(buffer, c->head, c->head_bytes);
  ssize_t n = recv(c->fd, buffer + c->head_bytes, READ_BYTES, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return drop(c);
  take(c, buffer, c->head_bytes + (size_t)n);
}

static struct connection *watch(int fd, int listening) {
  struct connection *c = calloc(1, sizeof *c);
  if (c == NULL) die("calloc");
  c->fd = fd, c->listening = listening;
  struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };
  if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) != 0) die("epoll_ctl");
  return c;
}

static void listen_on(int port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
  struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 4096) != 0) die("backend: listen");
  watch(fd, 1);
}

int main(int argc, char **argv) {
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  signal(SIGPIPE, SIG_IGN);
  pattern_init();
  refusal.data = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
  refusal.bytes = strlen(refusal.data);
  poller = epoll_create1(EPOLL_CLOEXEC);
  for (int i = 1; i < argc; i++) listen_on(atoi(argv[i]));
  struct connection *input = watch(STDIN_FILENO, 0);
  puts("ready");
  fflush(stdout);

  struct epoll_event events[EVENTS];
  for (;;) {
    int count = epoll_wait(poller, events, EVENTS, -1);
    for (int i = 0; i < count; i++) {
      struct connection *c = events[i].data.ptr;
      if (c == input) {
        if (read(STDIN_FILENO, buffer, sizeof buffer) <= 0) return 0;
      } else if (c->listening) {
        int fd, on = 1;
        while ((fd = accept4(c->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
          setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
          watch(fd, 0);
        }
      } else if (c->sending != NULL) {
        flush_answer(c);
      } else {
        readable(c);
      }
    }
  }
}
