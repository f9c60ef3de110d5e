import type { Outcome, Progress } from "../policy/model/outcome.ts";
import { rewriteTarget } from "../policy/route/rewrite.ts";
import { chooseSplit, type Route } from "../policy/route/route.ts";
import { type AnswerReason, Dispatch, type Step } from "../policy/upstream/dispatch.ts";
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
import { RESPONSE_LIMITS, type UpstreamRuntime } from "./upstream-runtime.ts";

/** A body up to this size that came whole with its head is written with it, as one string. */
const WHOLE_BODY_BYTES = 64 * 1024;
/** What is written down of an exchange whose client left before it was answered; nobody is sent it. */
const CLIENT_LEFT = 499;

/**
 * One request and its response, from first byte in to last byte out. It reads in the order of a request's way:
 * route -> dispatch -> attempt -> send -> relay the response -> settle. The decisions on that way are `Dispatch`'s; an
 * `Attempt` has the connection.
 *
 * Whatever ends it ends it once, in `#end`, after its attempt.
 */
export class Exchange implements RequestReader, AttemptOwner {
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
  #attempt: Attempt | undefined;
  #responding = false;
  #began = false;
  #over = false;
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
    if (step === "try") this.#try(dispatch);
    else if (step === "answer") this.#answerFor(dispatch.status, dispatch.reason, dispatch.retryAfterSeconds);
    else if (!this.#over) this.#cut(dispatch.reason);
  }

  #try(dispatch: Dispatch): void {
    const attempt = new Attempt(this, this.#upstream!.backends.get(dispatch.backend!)!, this.#services);
    this.#attempt = attempt;
    attempt.begin(this.#requestBody === undefined && mayRepeat(this.method));
    if (attempt.waiting && this.requestUnread) this.session.connection.pause();
  }

  send(attempt: Attempt, connection: BackendConnection, reused: boolean): void {
    const { settings } = this.#upstream!;
    const { authority, backend } = attempt.runtime;
    const text = requestText(this, settings.hostHeader, authority, backend.id);
    const body = this.#requestBody;
    if (body === undefined) {
      const message = this.#bodyText === "" ? text : text + this.#bodyText;
      if (reused && mayRepeat(this.method)) attempt.mayReplay(message);
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

  unconnected(outcome: Outcome): void {
    this.#attemptEnded(outcome);
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
        this.#attempt?.connection?.expectWithin(this.responding ? timeouts.idle : timeouts.response);
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

  /** The route's time is over. */
  routeLate(): void {
    const cut = this.responding;
    this.#dropAttempt("timeout");
    if (cut) this.#cut("route-timeout");
    else this.#answer(504, "route-timeout");
  }

  // From the backend.

  interim(head: ResponseHead): void {
    this.heard();
    const { connection } = this.session;
    connection.flush();
    // Hints are not worth waiting for a client that does not read; 100 is.
    const wanted = head.status === 100 || !connection.unsent;
    if (this.head.minor === 1 && wanted) this.session.write(interimText(head));
    if (!this.requestUnread) this.#attempt?.connection?.expectWithin(this.#upstream!.settings.timeouts.response);
  }

  switched(head: ResponseHead, bytes: Buffer, from: number, to: number): void {
    if (this.head.upgrade === "" || head.upgrade === "") return this.malformed("unwanted-101");
    const connection = this.#beginResponse(101);
    const services = this.#services;
    services.exchanges--;
    services.tunnels++;
    services.stripe.exchangeEnded(this.#upstream!.index, 101, false, services.clock.now() - this.startedMs);
    services.stripe.tunnelOpened();
    this.#switchedAfterMs = this.#attempt!.elapsedMs;
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

  responded(head: ResponseHead, bytes: Buffer, from: number, to: number): void {
    const connection = this.#beginResponse(head.status);
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

  #beginResponse(status: number): BackendConnection {
    this.heard();
    this.#responding = true;
    this.status = status;
    return this.#attempt!.connection!;
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
      this.#attempt?.connection?.expectWithin(Number.POSITIVE_INFINITY);
    } else {
      this.#responseMoved();
    }
  }

  #responseMoved(): void {
    this.#attempt?.connection?.expectWithin(this.#upstream!.settings.timeouts.idle);
    // A client that takes what it is sent is not slow, even where its own body stands still.
    if (this.requestUnread && this.#requestBody?.blocked === false) this.session.expectBody();
  }

  /** Nothing of the response has gone out: it can still be answered for. */
  #unbegin(): void {
    this.#responding = false;
    this.status = 0;
    this.#responseBody = undefined;
  }

  /** The backend has begun to answer, so it has the request. */
  heard(): void {
    this.#attempt?.heard();
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
    this.#attemptEnded({ kind: "timeout", phase, durationMs: this.#attempt!.elapsedMs });
  }

  // How it ends.

  #attemptFailed(reason: "reset" | "malformed" | "truncated"): void {
    if (reason === "reset" && this.#attempt!.replay()) return;
    this.#attemptEnded({ kind: "failure", reason, durationMs: this.#attempt!.elapsedMs });
  }

  /** The attempt came to nothing: maybe there is another. */
  #attemptEnded(outcome: Outcome): void {
    const attempt = this.#attempt!;
    const progress: Progress = this.responding ? "response" : attempt.progress;
    this.#attempt = undefined;
    attempt.end(outcome, true);
    this.#decide(this.#dispatch!, (dispatch) => dispatch.ended(outcome, progress, this.#services.clock.now()));
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

  /** Ends an attempt that nothing follows, where one runs. */
  #dropAttempt(kind: "cancelled" | "timeout"): void {
    if (this.#attempt === undefined) return;
    const durationMs = this.#attempt.elapsedMs;
    const outcome: Outcome = kind === "timeout" ? { kind, phase: "route", durationMs } : { kind, durationMs };
    this.#settle(outcome, kind === "timeout", false);
  }

  /** The attempt is over and nothing is left to decide: its connection goes back, the policy is told. */
  #settle(outcome: Outcome, failed: boolean, reusable: boolean): void {
    const attempt = this.#attempt!;
    this.#attempt = undefined;
    attempt.end(outcome, failed, reusable);
    try {
      this.#dispatch!.ended(outcome, "response", this.#services.clock.now());
    } catch (error) {
      this.#services.events.log("error", "policy-threw", `a policy threw: ${String(error)}`);
    }
  }

  /** What came from the client cannot be trusted any further. */
  #refuse(status: number, code: string): void {
    const cut = this.responding;
    this.#dropAttempt("cancelled");
    if (cut) return this.#cut(code);
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
      this.#services.stripe.exchangeEnded(this.#upstream?.index ?? -1, status, failed, now - this.startedMs);
    }
    this.#services.accessLog?.write(this, now);
    this.#services.ended();
  }
}
