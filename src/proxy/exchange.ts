import { isShedReason } from "../metrics/layout.ts";
import { learnedId } from "../policy/affinity/index.ts";
import type { Outcome, Progress } from "../policy/model/outcome.ts";
import { retryAfterMs } from "../policy/resilience/retry-after.ts";
import { priorityOf } from "../policy/route/priority.ts";
import { rewriteTarget } from "../policy/route/rewrite.ts";
import { chooseSplit, type Route } from "../policy/route/route.ts";
import { blamesBackend } from "../policy/upstream/blame.ts";
import {
  type AttemptTicket,
  Dispatch,
  type DispatchEvent,
  type DispatchOwner,
  type Step,
} from "../policy/upstream/dispatch.ts";
import { mayRepeat } from "../policy/upstream/repeat.ts";
import { latin1 } from "../wire/bytes.ts";
import { REFUSALS } from "../wire/refusal.ts";
import type { RequestHead } from "../wire/request-head.ts";
import type { ResponseHead } from "../wire/response-head.ts";
import { Attempt, type AttemptOwner } from "./attempt.ts";
import type { BackendConnection } from "./backend-connection.ts";
import { BodyRelay } from "./body-relay.ts";
import type { ClientSession, RequestReader } from "./client-session.ts";
import { requestText } from "./request-text.ts";
import { type Answer, answerText, encodingFor, interimText, responseText } from "./response-text.ts";
import type { Services } from "./services.ts";
import { Tunnel } from "./tunnel.ts";
import { type FixedResponse, RESPONSE_LIMITS, type UpstreamRuntime } from "./upstream-runtime.ts";

/** A body up to this size that came whole with its head is written with it, as one string. */
const WHOLE_BODY_BYTES = 64 * 1024;
const RETRY_AFTER = /(?:^|\r\n)retry-after:([^\r]*)/i;
/** What is written down of an exchange whose client left before it was answered; nobody is sent it. */
const CLIENT_LEFT = 499;

/**
 * One request and its response, from first byte in to last byte out. It reads in the order of a request's way:
 * route -> dispatch -> attempt -> send -> relay the response -> settle. The decisions on that way are `Dispatch`'s; an
 * `Attempt` has the connection. Now and then there are two attempts at a time, until the first of them answers.
 *
 * Whatever ends it ends it once, in `#end`, after its attempts.
 */
export class Exchange implements RequestReader, AttemptOwner, DispatchOwner {
  readonly session: ClientSession;
  readonly head: RequestHead;
  readonly startedMs: number;
  readonly requestId: string;
  readonly method: string;
  /** As it is forwarded. */
  target: string;
  route: Route<UpstreamRuntime> | undefined;
  /** Of the response the client gets; 0 before there is one. */
  status = 0;
  /** When it has to be over; Infinity: whenever it is. */
  deadlineMs = Number.POSITIVE_INFINITY;
  /** Lines of the response head that tell the client of its rate limit. */
  limitFields = "";
  /** Line of the response head that tells the client where its session belongs. */
  sessionField = "";
  /** A word for the log: why Spillway answered by itself, or why the response broke off. */
  reason = "";
  readonly #services: Services;
  #upstream: UpstreamRuntime | undefined;
  #dispatch: Dispatch | undefined;
  /** The one that answers, or began first. */
  #attempt: Attempt | undefined;
  /** One beside it: whichever answers first counts. */
  #second: Attempt | undefined;
  #responding = false;
  #began = false;
  #over = false;
  /** Its deadline is the route's, not its client's. */
  #routesDeadline = false;
  /** When something of the response came last. */
  #heardAtMs = 0;
  /** A request body that came whole with its head. */
  #bodyText = "";
  #requestBody: BodyRelay | undefined;
  #responseBody: BodyRelay | undefined;
  #tunnel: Tunnel | undefined;
  /** How long the backend took to answer, before the tunnel began. */
  #switchedAfterMs = 0;
  #reusable = false;
  #wholeBytes = 0;

  constructor(session: ClientSession, head: RequestHead, now: number) {
    this.session = session;
    this.head = head;
    this.startedMs = now;
    this.method = head.method;
    this.target = head.target;
    this.#services = session.services;
    this.requestId = session.requestIdFor(head);
  }

  /** Id of the backend of the last attempt, or empty. */
  get backendId(): string {
    return this.#dispatch?.backend?.id ?? "";
  }

  get upstreamName(): string {
    return this.#dispatch?.upstream.name ?? this.#upstream?.upstream.name ?? "";
  }

  get attempts(): number {
    return this.#dispatch?.attempts ?? 0;
  }

  /** Which session it is of, as far as can be told; see `Upstream.mayLeave`. */
  get sessionOf(): string {
    return this.#dispatch?.who ?? "";
  }

  /** Data bytes of the response's body so far. */
  get responseBytesSent(): number {
    return this.#tunnel?.bytesToClient ?? this.#responseBody?.bytes ?? this.#wholeBytes;
  }

  get requestUnread(): boolean {
    return this.#requestBody !== undefined && !this.#requestBody.done;
  }

  get responding(): boolean {
    return this.#responding;
  }

  /**
   * The head has been read; `bytes[from, to)` came with it.
   * @returns the offset behind what belongs to this request
   */
  begin(bytes: Buffer, from: number, to: number): number {
    this.#services.exchanges++;
    const at = this.#route(bytes, from, to);
    this.#began = true;
    const body = this.#requestBody;
    if (body === undefined || this.#over) return at;
    return this.requestBytes(bytes, at, to);
  }

  #route(bytes: Buffer, from: number, to: number): number {
    const { head, session } = this;
    const { routes, limits } = session.listener;
    const route = routes.only ?? routes.match(head);
    const upstream = route === undefined ? undefined : this.#upstreamOf(route);
    this.#upstream = upstream;
    this.#services.stripe.exchangeStarted(upstream?.index ?? -1);
    this.route = route;
    const at = this.#takeBody(bytes, from, to);
    if (head.framing > limits.bodyBytes) this.#answer(413, REFUSALS.bodyBytes.code);
    else if (route === undefined) this.#answer(404, "no-route");
    else if (route.rewrites && !this.#rewrite(route)) this.#answer(400, "path-leaves-prefix");
    else if (route.rateLimit === false || this.#withinRate(route)) {
      if (upstream === undefined) this.#answerByRoute(route);
      else this.#dispatchTo(upstream, route);
    }
    return at;
  }

  #withinRate(route: Route<UpstreamRuntime>): boolean {
    const rate = this.session.listener.rateLimitOf(route).take(this.head, this.startedMs);
    if (rate === undefined) return true;
    this.limitFields = rate.fields;
    if (rate.allowed) return true;
    this.#services.stripe.shed("rate");
    this.#answer(429, "rate", { retryAfter: rate.retryAfter, because: "rate" });
    return false;
  }

  #dispatchTo(upstream: UpstreamRuntime, route: Route<UpstreamRuntime>): void {
    const { head, session } = this;
    const limitMs = Math.min(route.timeoutMs, session.timeLeft(head));
    this.#routesDeadline = limitMs === route.timeoutMs;
    if (limitMs <= 0) return this.routeLate();
    if (limitMs !== Number.POSITIVE_INFINITY) {
      session.limitExchange(limitMs);
      this.deadlineMs = this.startedMs + limitMs;
    }
    session.locate(head, upstream);
    const dispatch = new Dispatch(upstream.upstream, head, {
      owner: this,
      priority: priorityOf(route.priority, head),
      deadlineMs: this.deadlineMs,
      wallMs: upstream.isSticky ? this.#services.clock.wallTime() : 0,
    });
    this.#dispatch = dispatch;
    if (this.#bodyText.length > this.#keepBytes) dispatch.replayable = false;
    this.#decide(dispatch, () => dispatch.begin(this.startedMs));
  }

  #upstreamOf({ action }: Route<UpstreamRuntime>): UpstreamRuntime | undefined {
    if (action.kind === "upstream") return action.upstream;
    return action.kind === "split" ? chooseSplit(action, this.#services.random.next()) : undefined;
  }

  #rewrite(route: Route<UpstreamRuntime>): boolean {
    const target = rewriteTarget(route, this.head.target);
    if (target !== undefined) this.target = target;
    return target !== undefined;
  }

  #answerByRoute({ action }: Route<UpstreamRuntime>): void {
    if (action.kind === "redirect") this.#answer(action.status, "redirect", { location: action.to });
    if (action.kind === "respond") this.#answer(action.status, "respond", action);
  }

  /** A short body that is all here goes out with the head; any other is relayed as it comes. */
  #takeBody(bytes: Buffer, from: number, to: number): number {
    const { head, session } = this;
    const { framing } = head;
    if (framing === 0) return from;
    if (framing > 0 && framing <= to - from && framing <= WHOLE_BODY_BYTES) {
      this.#bodyText = latin1(bytes, from, from + framing);
      return from + framing;
    }
    this.#requestBody = new BodyRelay({
      buffers: this.#services.buffers,
      source: session.connection,
      framing,
      encoding: "as-is",
      limits: session.listener.limits,
      maxBytes: session.listener.limits.bodyBytes,
      keepBytes: this.#keepBytes,
    });
    return from;
  }

  /** How much of a body is kept in case that it has to be sent again. */
  get #keepBytes(): number {
    return this.#upstream?.upstream.keepsBytes(this.method) ?? 0;
  }

  /** Asks the policy, and does what it says. */
  #decide(dispatch: Dispatch, ask: () => Step): void {
    let step: Step;
    try {
      step = ask();
    } catch (error) {
      return this.threw(error);
    }
    this.#act(dispatch, step);
  }

  proceed(step: Step): void {
    this.#count();
    if (!this.#over) this.#act(this.#dispatch!, step);
  }

  /** A balancer of the user's that throws fails its exchange, nothing else. */
  threw(error: unknown): void {
    this.#services.events.log("error", "policy-threw", `a policy threw: ${String(error)}`);
    this.#dropAttempt("cancelled");
    if (this.responding) this.#cut("policy-threw");
    else this.#answer(500, "policy-threw");
  }

  counted(event: DispatchEvent): void {
    const { stripe, upstreams } = this.#services;
    const { index } = this.#upstream!;
    switch (event) {
      case "moved":
        return stripe.moved(index);
      case "retried":
        return stripe.retried(index);
      case "retry-denied":
        return stripe.retryDenied(index);
      case "fell-back":
        return stripe.fellBack(index);
      case "hedged":
        return stripe.hedged(index);
      case "hedge-won":
        return stripe.hedgeWon(index);
      default:
        // A session belongs to the upstream that carries it, be it a fallback.
        return upstreams.get(this.#dispatch!.upstream)!.countSession(event);
    }
  }

  /** What waits where it waits: in its upstream, or in that one's fallback. */
  #count(): void {
    this.#upstream!.count();
    const { upstream } = this.#dispatch!;
    if (upstream !== this.#upstream!.upstream) this.#services.upstreams.get(upstream)?.count();
  }

  #act(dispatch: Dispatch, step: Step): void {
    if (step === "try") this.#try(dispatch);
    else if (step === "wait") this.#wait(dispatch);
    else if (step === "answer") this.#answerFor(dispatch);
    else if (!this.#over) this.#cut(dispatch.reason);
  }

  #try(dispatch: Dispatch): void {
    const attempt = new Attempt(this, dispatch.attempt!, this.#services);
    attempt.runtime.upstream.countDistance(dispatch.attempt!.backend, this.head.position);
    // Of an attempt before.
    this.reason = "";
    if (this.#attempt === undefined) this.#attempt = attempt;
    else this.#second = attempt;
    if (
      dispatch.hedgeAtMs !== Number.POSITIVE_INFINITY &&
      this.#requestBody === undefined &&
      this.head.upgrade === ""
    ) {
      this.#wakeAt(dispatch.hedgeAtMs);
    }
    attempt.begin(this.#requestBody === undefined && mayRepeat(this.method));
    if (attempt.waiting && this.requestUnread) this.session.connection.pause();
  }

  /** For room, for the end of a back-off, or for an attempt that still runs. */
  #wait(dispatch: Dispatch): void {
    if (this.#attempt !== undefined) return;
    this.#count();
    if (dispatch.wakeAtMs !== Number.POSITIVE_INFINITY) this.#wakeAt(dispatch.wakeAtMs);
    this.session.awaitNothing();
    if (this.requestUnread) this.session.connection.pause();
  }

  #wakeAt(atMs: number): void {
    this.session.wakeWithin(Math.max(0, atMs - this.#services.clock.now()));
  }

  woken(): void {
    const dispatch = this.#dispatch!;
    const now = this.#services.clock.now();
    if (this.#attempt === undefined) return this.#decide(dispatch, () => dispatch.wake(now));
    try {
      if (!this.responding && dispatch.hedge(now)) this.#try(dispatch);
    } catch (error) {
      // The first attempt runs on.
      this.#services.events.log("error", "policy-threw", `a policy threw: ${String(error)}`);
    }
  }

  send(attempt: Attempt, connection: BackendConnection, reused: boolean): void {
    const { authority, backend, upstream } = attempt.runtime;
    const { settings } = upstream;
    const text = requestText(this, settings.hostHeader, authority, backend.id);
    const body = this.#requestBody;
    if (body === undefined) {
      const message = this.#bodyText === "" ? text : text + this.#bodyText;
      if (reused && mayRepeat(this.method)) attempt.mayReplay(message);
      connection.connection.write(message);
      connection.expectWithin(this.#responseMs(attempt));
      return;
    }
    if (reused && mayRepeat(this.method)) attempt.mayReplay(text);
    body.head = text + body.head;
    body.open(connection.connection);
    if (!this.#began) return;
    body.flush();
    this.#requestMoved(body);
    if (body.done || !body.blocked) this.session.connection.resume();
  }

  unconnected(attempt: Attempt, outcome: Outcome): void {
    this.#attemptEnded(attempt, outcome);
  }

  /** How long the backend may take to begin its answer. */
  #responseMs({ runtime }: Attempt): number {
    return Math.min(runtime.upstream.settings.timeouts.response, this.#dispatch!.perTryTimeoutMs);
  }

  // From the client.

  requestBytes(bytes: Buffer, from: number, to: number): number {
    const body = this.#requestBody!;
    const at = body.feed(bytes, from, to);
    if (body.refusal !== undefined) {
      this.#refuse(body.refusal.status, body.refusal.code);
      return to;
    }
    if (body.opened) this.#requestMoved(body);
    else if (!body.done) this.session.connection.pause();
    return at;
  }

  /** Some of the body went on its way: who is waited for now? */
  #requestMoved(body: BodyRelay): void {
    const attempt = this.#attempt;
    if (attempt === undefined) return;
    const { timeouts } = attempt.runtime.upstream.settings;
    if (body.done) {
      this.session.awaitNothing();
      if (this.#responseBody?.blocked !== true) {
        attempt.connection?.expectWithin(this.responding ? timeouts.idle : this.#responseMs(attempt));
      }
    } else if (body.blocked) {
      this.session.awaitNothing();
      this.#attempt?.connection?.expectWithin(timeouts.idle);
    } else {
      // A backend that answers already is not waited for either while its client cannot take more.
      const waits = this.responding && this.#responseBody?.blocked !== true;
      this.#attempt?.connection?.expectWithin(waits ? timeouts.idle : Number.POSITIVE_INFINITY);
      this.session.expectBody();
    }
  }

  clientDrained(): void {
    const body = this.#responseBody;
    if (body === undefined) return;
    body.drained();
    if (!body.done) this.#responseMoved();
  }

  /** The client has closed, or is given up: so is what runs for it. */
  clientGone(): void {
    if (this.#over) return;
    this.reason ||= "client-closed";
    this.#dropAttempt("cancelled");
    this.#end(this.status === 0 ? CLIENT_LEFT : this.status, false);
  }

  /** The client has stood still for too long. */
  clientLate(): void {
    this.#services.stripe.timeout("body");
    this.#refuse(408, "body-timeout");
  }

  /** Its time is over. */
  routeLate(): void {
    const cut = this.responding;
    const blamed = blamesBackend({
      ranMs: this.#attempt?.elapsedMs,
      silentMs: cut ? this.#services.clock.now() - this.#heardAtMs : undefined,
      clientWaitedFor:
        (this.requestUnread && this.#requestBody?.blocked !== true) || this.#responseBody?.blocked === true,
      ownLimit: this.#routesDeadline,
    });
    if (!blamed) this.#services.stripe.timeout("route");
    this.#dropAttempt(blamed ? "timeout" : "cancelled");
    if (cut) this.#cut("route-timeout");
    else this.#answer(504, "route-timeout", { because: "route-timeout" });
  }

  // From the backend.

  interim(attempt: Attempt, head: ResponseHead): void {
    if (attempt !== this.#attempt) return;
    const { connection } = this.session;
    connection.flush();
    // Hints are not worth waiting for a client that does not read; 100 is.
    const wanted = head.status === 100 || !connection.unsent;
    if (this.head.minor === 1 && wanted) this.session.write(interimText(head));
    if (!this.requestUnread) attempt.connection?.expectWithin(this.#responseMs(attempt));
  }

  switched(attempt: Attempt, head: ResponseHead, bytes: Buffer, from: number, to: number): void {
    if (this.head.upgrade === "" || head.upgrade === "") return this.malformed(attempt, "unwanted-101");
    const connection = this.#beginResponse(attempt, head);
    const services = this.#services;
    services.exchanges--;
    services.tunnels++;
    services.stripe.exchangeEnded(this.#upstream!.index, 101, false, services.clock.now() - this.startedMs);
    services.stripe.tunnelOpened();
    this.#switchedAfterMs = attempt.elapsedMs;
    this.session.write(responseText(this, head, true, "as-is"));
    const tunnel = new Tunnel(this, connection, services);
    this.#tunnel = tunnel;
    connection.begin(tunnel);
    if (from < to) tunnel.responseBytes(bytes, from, to);
    this.session.upgraded(tunnel);
  }

  /** The tunnel that this exchange became has closed. The backend has been busy with it until now. */
  tunnelClosed(): void {
    this.#services.tunnels--;
    this.#services.stripe.tunnelClosed();
    this.#settle({ kind: "success", status: 101, durationMs: this.#switchedAfterMs }, false, false);
    this.#end(101, false);
  }

  responded(attempt: Attempt, head: ResponseHead, bytes: Buffer, from: number, to: number): void {
    if (head.status >= 400 && this.#tryAgainFor(attempt, head, to - from)) return;
    const connection = this.#beginResponse(attempt, head);
    const { session } = this;
    this.#reusable = head.keepAlive;
    // A request that is still coming would follow the response on this connection: better to say now that none can.
    if (this.requestUnread) session.closeAfterExchange();
    const encoding = encodingFor(head.framing, this.head.minor);
    const keepAlive = session.settleKeepAlive(head.framing, encoding);
    const text = responseText(this, head, keepAlive, encoding);

    const { framing } = head;
    if (framing >= 0 && framing <= to - from && framing <= WHOLE_BODY_BYTES) {
      this.#wholeBytes = framing;
      if (framing < to - from) this.#reusable = false;
      session.write(framing === 0 ? text : text + latin1(bytes, from, from + framing));
      this.#complete();
      return;
    }
    const body = new BodyRelay({
      buffers: this.#services.buffers,
      source: connection.connection,
      framing,
      encoding,
      limits: RESPONSE_LIMITS,
    });
    this.#responseBody = body;
    body.head = text;
    body.open(session.connection);
    this.responseBytes(bytes, from, to);
  }

  /** Whether the response is one to drop, for a better one from another backend. */
  #tryAgainFor(attempt: Attempt, head: ResponseHead, bodyBytes: number): boolean {
    const dispatch = this.#dispatch!;
    if (!dispatch.waitsForOther(head.status) && !this.#retriesFor(dispatch, head)) return false;
    const whole = head.framing === bodyBytes && head.keepAlive;
    this.#attemptEnded(attempt, { kind: "success", status: head.status, durationMs: attempt.elapsedMs }, whole);
    return true;
  }

  #retriesFor(dispatch: Dispatch, head: ResponseHead): boolean {
    if (this.requestUnread || !dispatch.mightRetry(head.status)) return false;
    if (this.#requestBody?.rewindable === false) dispatch.replayable = false;
    const asked = RETRY_AFTER.exec(head.kept)?.[1]?.trim();
    const { clock } = this.#services;
    const waitMs = asked === undefined ? undefined : retryAfterMs(asked, clock.wallTime());
    return dispatch.wantsRetry(head.status, waitMs, clock.now());
  }

  #beginResponse(attempt: Attempt, head: ResponseHead): BackendConnection {
    const { status } = head;
    const loser = this.#respond(attempt, head);
    if (loser !== undefined) {
      const other = attempt === this.#attempt ? this.#second! : this.#attempt!;
      other.end({ kind: "cancelled", durationMs: other.elapsedMs }, false);
      this.#attempt = attempt;
      this.#second = undefined;
    }
    this.#responding = true;
    this.status = status;
    return attempt.connection!;
  }

  /** Tells the policy that a response begins; one that runs beside it has lost. */
  #respond({ ticket }: Attempt, { status, kept }: ResponseHead): AttemptTicket | undefined {
    const dispatch = this.#dispatch!;
    const { clock } = this.#services;
    const now = clock.now();
    const { affinity } = ticket.upstream;
    if (affinity === undefined) return dispatch.responded(status, now, ticket);
    const { learnsFrom } = affinity;
    const learnt = learnsFrom === undefined ? "" : learnedId(kept, learnsFrom, clock.wallTime());
    const loser = dispatch.responded(status, now, ticket, learnt);
    const cookie = dispatch.setCookie(this.session.cameByTls(this.head));
    if (cookie !== "") this.sessionField = `set-cookie: ${cookie}\r\n`;
    return loser;
  }

  responseBytes(bytes: Buffer, from: number, to: number): void {
    const body = this.#responseBody!;
    this.#heardAtMs = this.#services.clock.now();
    const at = body.feed(bytes, from, to);
    if (body.refusal !== undefined) {
      this.reason = body.refusal.code;
      if (body.written === 0) this.#unbegin();
      return this.#attemptFailed(this.#attempt!, "malformed");
    }
    if (body.written > 0) this.#requestBody?.forget();
    if (body.done) {
      if (at < to) this.#reusable = false;
      this.#complete();
    } else if (body.blocked) {
      this.session.expectDrain();
      this.#attempt?.connection?.expectWithin(Number.POSITIVE_INFINITY);
    } else {
      this.#responseMoved();
    }
  }

  #responseMoved(): void {
    this.#attempt?.connection?.expectWithin(this.#attempt.runtime.upstream.settings.timeouts.idle);
    // A client that takes what it is sent is not slow, even where its own body stands still.
    if (this.requestUnread && this.#requestBody?.blocked === false) this.session.expectBody();
  }

  /** Nothing of the response has gone out: it can still be answered for. */
  #unbegin(): void {
    this.#responding = false;
    this.status = 0;
    this.#responseBody = undefined;
  }

  backendDrained(attempt: Attempt): void {
    const body = this.#requestBody;
    if (body === undefined || attempt !== this.#attempt) return;
    body.drained();
    this.#requestMoved(body);
  }

  backendEnded(attempt: Attempt): void {
    const body = this.#responseBody;
    if (body?.untilClose === true) {
      body.finish();
      this.#complete();
    } else {
      this.broken(attempt);
    }
  }

  broken(attempt: Attempt): void {
    this.#attemptFailed(attempt, this.responding ? "truncated" : "reset");
  }

  malformed(attempt: Attempt, why: string): void {
    this.reason = why;
    this.#attemptFailed(attempt, "malformed");
  }

  backendLate(attempt: Attempt): void {
    const phase = this.responding || this.requestUnread ? "body" : "response";
    this.#attemptEnded(attempt, { kind: "timeout", phase, durationMs: attempt.elapsedMs });
  }

  // How it ends.

  #attemptFailed(attempt: Attempt, reason: "reset" | "malformed" | "truncated"): void {
    const body = this.#requestBody;
    if (reason === "reset" && attempt.replayable && body?.rewindable !== false) {
      body?.rewind();
      attempt.replay();
      if (attempt.waiting && this.requestUnread) this.session.connection.pause();
      return;
    }
    this.#attemptEnded(attempt, { kind: "failure", reason, durationMs: attempt.elapsedMs });
  }

  /** The attempt came to nothing: maybe there is another. */
  #attemptEnded(attempt: Attempt, outcome: Outcome, reusable = false): void {
    const progress: Progress = this.responding ? "response" : attempt.progress;
    this.#forget(attempt);
    attempt.end(outcome, true, reusable);
    const dispatch = this.#dispatch!;
    const body = this.#requestBody;
    if (body?.opened === true && !this.responding) {
      if (body.rewindable) body.rewind();
      else dispatch.replayable = false;
    }
    this.#decide(dispatch, () => dispatch.ended(outcome, progress, this.#services.clock.now(), attempt.ticket));
  }

  #forget(attempt: Attempt): void {
    if (attempt === this.#attempt) this.#attempt = this.#second;
    this.#second = undefined;
  }

  /** The response is complete. */
  #complete(): void {
    const { status, session } = this;
    const attempt = this.#attempt!;
    if (this.#responseBody?.blocked === true) session.expectDrain(this.#responseBody);
    // What the backend has not taken of this request would stand before the next one.
    const reusable = this.#reusable && !this.requestUnread && !attempt.connection!.connection.unsent;
    this.#settle({ kind: "success", status, durationMs: attempt.elapsedMs }, status >= 500, reusable);
    this.#end(status, status >= 500);
    session.exchangeEnded();
  }

  /** Ends what runs or waits, when nothing follows. */
  #dropAttempt(kind: "cancelled" | "timeout"): void {
    const second = this.#second;
    if (second !== undefined) {
      this.#second = undefined;
      second.end({ kind: "cancelled", durationMs: second.elapsedMs }, false);
    }
    if (this.#attempt !== undefined) {
      const durationMs = this.#attempt.elapsedMs;
      const outcome: Outcome = kind === "timeout" ? { kind, phase: "route", durationMs } : { kind, durationMs };
      this.#settle(outcome, kind === "timeout", false);
    }
    if (this.#dispatch === undefined) return;
    this.#dispatch.abandon(this.#services.clock.now());
    this.#count();
  }

  /** The attempt is over and nothing is left to decide: its connection goes back, the policy is told. */
  #settle(outcome: Outcome, failed: boolean, reusable: boolean): void {
    const attempt = this.#attempt!;
    this.#attempt = undefined;
    attempt.end(outcome, failed, reusable);
    try {
      this.#dispatch!.ended(outcome, "response", this.#services.clock.now(), attempt.ticket);
    } catch (error) {
      this.#services.events.log("error", "policy-threw", `a policy threw: ${String(error)}`);
    }
    if (attempt.runtime.upstream.upstream.limit !== undefined) attempt.runtime.upstream.count();
  }

  /** What came from the client cannot be trusted any further. */
  #refuse(status: number, code: string): void {
    const cut = this.responding;
    this.#dropAttempt("cancelled");
    if (cut) return this.#cut(code);
    this.session.closeAfterExchange();
    this.#answer(status, code);
  }

  #answerFor({ status, reason, retryAfterSeconds, fallbackResponse }: Dispatch): void {
    const { stripe } = this.#services;
    if (isShedReason(reason)) stripe.shed(reason);
    if (reason === "queue-timeout") stripe.timeout("queue");
    else if (reason === "route-timeout") stripe.timeout("route");
    const why = this.reason === "" ? reason : this.reason;
    if (fallbackResponse !== undefined) {
      const fixed = fallbackResponse as FixedResponse;
      return this.#answer(fixed.status, why, { ...fixed, because: reason });
    }
    this.#answer(status, why, { because: reason, ...(retryAfterSeconds > 0 ? { retryAfter: retryAfterSeconds } : {}) });
  }

  /** Spillway answers by itself. */
  #answer(status: number, reason: string, answer: Answer = {}): void {
    const { session } = this;
    this.reason = reason;
    this.status = status;
    this.#responding = true;
    if (this.requestUnread) session.closeAfterExchange();
    const keepAlive = session.settleKeepAlive(0, "as-is");
    session.write(answerText(this, status, keepAlive, answer));
    this.#end(status, status >= 500);
    session.exchangeEnded();
  }

  /** The response cannot be completed: the client's ends early too, so that it can tell. */
  #cut(reason: string): void {
    this.reason ||= reason;
    this.#end(this.status, true);
    this.session.cut();
  }

  #end(status: number, failed: boolean): void {
    if (this.#over) return;
    this.#over = true;
    if (this.status === 0) this.status = status;
    if (this.#requestBody !== undefined) {
      this.#requestBody.abandon();
      // It may have been paused for this body; what comes next is read again.
      this.session.connection.resume();
    }
    const body = this.#responseBody;
    if (body !== undefined) {
      this.#services.stripe.bytesOut(body.written);
      if (!body.done) body.abandon();
    }
    const now = this.#services.clock.now();
    if (this.#tunnel === undefined) {
      this.#services.exchanges--;
      // A client that left was sent none.
      const sent = status === CLIENT_LEFT ? 0 : status;
      this.#services.stripe.exchangeEnded(this.#upstream?.index ?? -1, sent, failed, now - this.startedMs);
    }
    this.#services.accessLog?.write(this, now);
    this.#services.ended();
  }
}
