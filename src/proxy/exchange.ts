import type { Outcome, Progress } from "../policy/model/outcome.ts";
import { rewriteTarget } from "../policy/route/rewrite.ts";
import { chooseSplit, type Route } from "../policy/route/route.ts";
import { type AnswerReason, Dispatch, type Step } from "../policy/upstream/dispatch.ts";
import type { PoolError } from "../pool/pool-error.ts";
import type { Waiter } from "../pool/pool-options.ts";
import { latin1 } from "../wire/bytes.ts";
import { REFUSALS } from "../wire/refusal.ts";
import type { RequestHead } from "../wire/request-head.ts";
import type { ResponseHead } from "../wire/response-head.ts";
import type { BackendConnection, ResponseReader } from "./backend-connection.ts";
import { BodyRelay } from "./body-relay.ts";
import type { ClientSession, RequestReader } from "./client-session.ts";
import { poolOutcome } from "./pool-outcome.ts";
import { requestText } from "./request-text.ts";
import { type Answer, answerText, encodingFor, interimText, responseText } from "./response-text.ts";
import type { Services } from "./services.ts";
import { Tunnel } from "./tunnel.ts";
import type { BackendRuntime, UpstreamRuntime } from "./upstream-runtime.ts";

/** A body up to this size that came whole with its head is written with it, as one string. */
const WHOLE_BODY_BYTES = 64 * 1024;
/** A connection used less than this ago is taken to be alive for what must not be sent twice. */
const PROVEN_MS = 1000;
/** RFC 9110 section 9.2.2: sent twice, these do what they do sent once. */
const IDEMPOTENT: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);
/** What is written down of an exchange whose client left before it was answered; nobody is sent it. */
const CLIENT_LEFT = 499;
const FRESH = { fresh: true } as const;

/**
 * One request and its response, from first byte in to last byte out. It reads in the order of a request's way:
 * route -> dispatch -> acquire -> send -> relay the response -> settle. The decisions on that way are `Dispatch`'s.
 *
 * Every attempt ends in `#attemptEnded`, every exchange in `#end`, once, whatever ends it.
 */
export class Exchange implements RequestReader, ResponseReader, Waiter<BackendConnection> {
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
  /** A word for the log: why Spillway answered by itself, or why the response broke off. */
  reason = "";
  readonly #services: Services;
  #upstream: UpstreamRuntime | undefined;
  #dispatch: Dispatch | undefined;
  #backend: BackendRuntime | undefined;
  #connection: BackendConnection | undefined;
  #attemptMs = 0;
  #waiting = false;
  #progress: Progress = "nothing";
  #began = false;
  #over = false;
  /** A request body that came whole with its head. */
  #bodyText = "";
  #requestBody: BodyRelay | undefined;
  #responseBody: BodyRelay | undefined;
  #tunnel: Tunnel | undefined;
  /** The whole message, as long as it may have to be sent again because an idle connection was closed under it. */
  #replay = "";
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
    return this.#upstream?.upstream.name ?? "";
  }

  get attempts(): number {
    return this.#dispatch?.attempts ?? 0;
  }

  /** Data bytes of the response's body so far. */
  get responseBytesSent(): number {
    return this.#tunnel?.bytesToClient ?? this.#responseBody?.bytes ?? this.#wholeBytes;
  }

  get requestUnread(): boolean {
    return this.#requestBody !== undefined && !this.#requestBody.done;
  }

  get responding(): boolean {
    return this.#progress === "response";
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
    const end = at === to ? at : this.requestBytes(bytes, at, to);
    body.flush();
    if (at === to && body.opened) this.#requestMoved(body);
    return end;
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
    else if (upstream === undefined) this.#answerByRoute(route);
    else {
      if (route.timeoutMs !== Number.POSITIVE_INFINITY) session.limitExchange(route.timeoutMs);
      this.#dispatch = new Dispatch(upstream.upstream, head);
      this.#decide(this.#dispatch, (dispatch) => dispatch.begin(this.startedMs));
    }
    return at;
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
    });
    return from;
  }

  /** Asks the policy, and does what it says. A balancer of the user's that throws fails its exchange, nothing else. */
  #decide(dispatch: Dispatch, ask: (dispatch: Dispatch) => Step): void {
    let step: Step;
    try {
      step = ask(dispatch);
    } catch (error) {
      this.#services.events.log("error", "policy-threw", `a policy threw: ${String(error)}`);
      if (this.responding) this.#cut("policy-threw");
      else this.#answer(500, "policy-threw");
      return;
    }
    if (step === "try") this.#acquire(dispatch);
    else if (step === "answer") this.#answerFor(dispatch.status, dispatch.reason, dispatch.retryAfterSeconds);
    else if (!this.#over) this.#cut(dispatch.reason);
  }

  #acquire(dispatch: Dispatch): void {
    const runtime = this.#upstream!.backends.get(dispatch.backend!)!;
    this.#backend = runtime;
    this.#services.stripe.attemptStarted(runtime.backend.slot);
    this.#attemptMs = this.#services.clock.now();
    this.#progress = "nothing";
    this.#waiting = true;
    runtime.pool.request(this, this.#needsFresh(runtime) ? FRESH : undefined);
    if (this.#waiting && this.requestUnread) this.session.connection.pause();
  }

  /** What cannot be sent again does not go on a connection that may have been closed meanwhile (RFC 9110 section 9.2.2). */
  #needsFresh({ pool }: BackendRuntime): boolean {
    if (this.#requestBody === undefined && IDEMPOTENT.has(this.method)) return false;
    const idleSinceMs = pool.newestIdleSinceMs;
    return idleSinceMs !== undefined && this.#attemptMs - idleSinceMs > PROVEN_MS;
  }

  acquired(connection: BackendConnection, reused: boolean): void {
    this.#waiting = false;
    this.#connection = connection;
    if (reused) this.#services.stripe.connectionReused(connection.slot);
    connection.begin(this);
    this.#progress = "request";
    const { authority, backend } = this.#backend!;
    const { settings } = this.#upstream!;
    const text = requestText(this, settings.hostHeader, authority, backend.id);
    const body = this.#requestBody;
    if (body === undefined) {
      const message = this.#bodyText === "" ? text : text + this.#bodyText;
      if (reused && IDEMPOTENT.has(this.method)) this.#replay = message;
      connection.connection.write(message);
      connection.expectWithin(settings.timeouts.response);
      return;
    }
    body.head = text + body.head;
    body.open(connection.connection);
    if (!this.#began) return;
    body.flush();
    this.#requestMoved(body);
    if (body.done || !body.blocked) this.session.connection.resume();
  }

  /** The pool had no connection for us. */
  failed(error: PoolError): void {
    this.#waiting = false;
    this.#attemptEnded(poolOutcome(error, this.#elapsedMs()));
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
    const { timeouts } = this.#upstream!.settings;
    if (body.done) {
      this.session.awaitNothing();
      if (this.#responseBody?.blocked !== true) {
        this.#connection?.expectWithin(this.responding ? timeouts.idle : timeouts.response);
      }
    } else if (body.blocked) {
      this.session.awaitNothing();
      this.#connection?.expectWithin(timeouts.idle);
    } else {
      // A backend that answers already is not waited for either while its client cannot take more.
      const waits = this.responding && this.#responseBody?.blocked !== true;
      this.#connection?.expectWithin(waits ? timeouts.idle : Number.POSITIVE_INFINITY);
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
    this.#dropAttempt({ kind: "cancelled", durationMs: this.#elapsedMs() });
    this.#end(this.status === 0 ? CLIENT_LEFT : this.status, false);
  }

  /** The client has stood still for too long. */
  clientLate(): void {
    this.#services.stripe.timeout("body");
    this.#refuse(408, "body-timeout");
  }

  /** The route's time is over. */
  routeLate(): void {
    const cut = this.responding;
    this.#dropAttempt({ kind: "timeout", phase: "route", durationMs: this.#elapsedMs() });
    if (cut) this.#cut("route-timeout");
    else this.#answer(504, "route-timeout");
  }

  // From the backend.

  interim(head: ResponseHead): void {
    this.#replay = "";
    // Hints are not worth waiting for a client that does not read; 100 is.
    const wanted = head.status === 100 || !this.session.connection.unsent;
    if (this.head.minor === 1 && wanted) this.session.write(interimText(head));
    if (!this.requestUnread) this.#connection!.expectWithin(this.#upstream!.settings.timeouts.response);
  }

  switched(head: ResponseHead, bytes: Buffer, from: number, to: number): void {
    if (this.head.upgrade === "" || head.upgrade === "") return this.malformed("unwanted-101");
    this.#replay = "";
    this.#progress = "response";
    this.status = 101;
    const connection = this.#connection!;
    const services = this.#services;
    const now = services.clock.now();
    services.exchanges--;
    services.tunnels++;
    services.stripe.exchangeEnded(this.#upstream!.index, 101, false, now - this.startedMs);
    services.stripe.attemptEnded(connection.slot, false, now - this.#attemptMs);
    services.stripe.tunnelOpened();
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
    this.#giveBack(false);
    this.#tell({ kind: "success", status: 101, durationMs: this.#elapsedMs() }, "response");
    this.#end(101, false);
  }

  responded(head: ResponseHead, bytes: Buffer, from: number, to: number): void {
    const connection = this.#connection!;
    const { session } = this;
    this.#replay = "";
    this.#progress = "response";
    this.status = head.status;
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
      limits: this.#upstream!.responseLimits,
    });
    this.#responseBody = body;
    body.head = text;
    body.open(session.connection);
    this.responseBytes(bytes, from, to);
    if (!this.#over) body.flush();
  }

  responseBytes(bytes: Buffer, from: number, to: number): void {
    const body = this.#responseBody!;
    const at = body.feed(bytes, from, to);
    if (body.refusal !== undefined) {
      this.reason = body.refusal.code;
      if (body.written === 0) this.#unbegin();
      return this.#attemptFailed("malformed");
    }
    if (body.done) {
      if (at < to) this.#reusable = false;
      this.#complete();
    } else if (body.blocked) {
      this.session.expectDrain();
      this.#connection!.expectWithin(Number.POSITIVE_INFINITY);
    } else {
      this.#responseMoved();
    }
  }

  #responseMoved(): void {
    this.#connection?.expectWithin(this.#upstream!.settings.timeouts.idle);
    // A client that takes what it is sent is not slow, even where its own body stands still.
    if (this.requestUnread && this.#requestBody?.blocked === false) this.session.expectBody();
  }

  /** Nothing of the response has gone out: it can still be answered for. */
  #unbegin(): void {
    this.#progress = "request";
    this.status = 0;
    this.#responseBody = undefined;
  }

  /** The backend has begun to answer, so it has the request. */
  heard(): void {
    this.#replay = "";
  }

  backendDrained(): void {
    const body = this.#requestBody;
    if (body === undefined) return;
    body.drained();
    this.#requestMoved(body);
  }

  backendEnded(): void {
    const body = this.#responseBody;
    if (body?.untilClose === true) {
      body.finish();
      this.#complete();
    } else {
      this.#attemptFailed(this.responding ? "truncated" : "reset");
    }
  }

  backendClosed(error: Error | undefined): void {
    if (error === undefined) this.backendEnded();
    else this.#attemptFailed(this.responding ? "truncated" : "reset");
  }

  malformed(why: string): void {
    this.reason = why;
    this.#attemptFailed("malformed");
  }

  backendLate(): void {
    const phase = this.responding || this.requestUnread ? "body" : "response";
    this.#attemptEnded({ kind: "timeout", phase, durationMs: this.#elapsedMs() });
  }

  // How it ends.

  #attemptFailed(reason: "reset" | "malformed" | "truncated"): void {
    if (reason === "reset" && this.#replay !== "") return this.#sendAgain();
    this.#attemptEnded({ kind: "failure", reason, durationMs: this.#elapsedMs() });
  }

  /** An idle connection was closed just as it was used: not the backend's fault and no attempt. At most once. */
  #sendAgain(): void {
    this.#replay = "";
    this.#services.stripe.replayed(this.#connection!.slot);
    this.#giveBack(false);
    this.#progress = "nothing";
    this.#waiting = true;
    this.#backend!.pool.request(this, FRESH);
  }

  /** The attempt came to nothing: maybe there is another. */
  #attemptEnded(outcome: Outcome): void {
    const progress = this.#progress;
    this.#giveBack(false);
    this.#countAttempt(outcome, true);
    this.#decide(this.#dispatch!, (dispatch) => dispatch.ended(outcome, progress, this.#services.clock.now()));
  }

  /** The response is complete. */
  #complete(): void {
    const { status, session } = this;
    if (this.#responseBody?.blocked === true) session.expectDrain(this.#responseBody);
    // What the backend has not taken of this request would stand before the next one.
    const unsent = this.#connection?.connection.unsent === true;
    this.#giveBack(this.#reusable && !this.requestUnread && !unsent);
    const outcome: Outcome = { kind: "success", status, durationMs: this.#elapsedMs() };
    this.#countAttempt(outcome, status >= 500);
    this.#tell(outcome, "response");
    this.#end(status, status >= 500);
    session.exchangeEnded();
  }

  /** Ends an attempt that nothing follows. */
  #dropAttempt(outcome: Outcome): void {
    if (this.#waiting) this.#backend!.pool.cancel(this);
    const running = this.#waiting || this.#connection !== undefined;
    this.#waiting = false;
    this.#giveBack(false);
    if (!running) return;
    this.#countAttempt(outcome, outcome.kind === "timeout");
    this.#tell(outcome, "response");
  }

  /** Tells the policy of an outcome after which nothing is left to decide. */
  #tell(outcome: Outcome, progress: Progress): void {
    try {
      this.#dispatch!.ended(outcome, progress, this.#services.clock.now());
    } catch (error) {
      this.#services.events.log("error", "policy-threw", `a policy threw: ${String(error)}`);
    }
  }

  #countAttempt(outcome: Outcome, failed: boolean): void {
    if (outcome.kind === "timeout") this.#services.stripe.timeout(outcome.phase);
    this.#services.stripe.attemptEnded(this.#backend!.backend.slot, failed, outcome.durationMs);
  }

  #elapsedMs(): number {
    return this.#services.clock.now() - this.#attemptMs;
  }

  #giveBack(reusable: boolean): void {
    const connection = this.#connection;
    if (connection === undefined) return;
    this.#connection = undefined;
    connection.finish();
    if (reusable) this.#backend!.pool.release(connection);
    else this.#backend!.pool.discard(connection, "not reusable");
  }

  /** What came from the client cannot be trusted any further. */
  #refuse(status: number, code: string): void {
    if (this.responding) return this.#cutAttempt(code);
    this.#dropAttempt({ kind: "cancelled", durationMs: this.#elapsedMs() });
    this.session.closeAfterExchange();
    this.#answer(status, code);
  }

  #answerFor(status: number, reason: AnswerReason, retryAfter: number): void {
    this.#answer(status, this.reason === "" ? reason : this.reason, retryAfter > 0 ? { retryAfter } : {});
  }

  /** Spillway answers by itself. */
  #answer(status: number, reason: string, answer: Answer = {}): void {
    const { session } = this;
    this.reason = reason;
    this.status = status;
    this.#progress = "response";
    if (this.requestUnread) session.closeAfterExchange();
    const keepAlive = session.settleKeepAlive(0, "as-is");
    session.write(answerText(this, status, keepAlive, answer));
    this.#end(status, status >= 500);
    session.exchangeEnded();
  }

  #cutAttempt(reason: string): void {
    this.reason = reason;
    this.#dropAttempt({ kind: "cancelled", durationMs: this.#elapsedMs() });
    this.#cut(reason);
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
      this.#services.stripe.exchangeEnded(this.#upstream?.index ?? -1, status, failed, now - this.startedMs);
    }
    this.#services.accessLog?.write(this, now);
    this.#services.ended();
  }
}
