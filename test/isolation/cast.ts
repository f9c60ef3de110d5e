import type { Script } from "../support/raw-backend.ts";
import type { Scene } from "../support/scene.ts";
import { eventually, type Message, type Wire } from "../support/wire.ts";

/** A request that reached a backend, whole. */
export interface Delivery {
  /** Which backend, from 0. */
  readonly backend: number;
  readonly wire: Wire;
  readonly request: Message;
  /** How many were delivered before, to any backend. */
  readonly nth: number;
}

/** What a backend does with a delivery: a text is its response; without one it has done what it does. */
// biome-ignore lint/suspicious/noConfusingVoidType: what is done to a wire has no result
export type Act = (delivery: Delivery) => string | void | Promise<string | void>;

/** Backends that act by the same rules, and remember what reached them. */
export interface Cast {
  readonly scripts: readonly Script[];
  /** All that were delivered, in order. */
  readonly deliveries: readonly Delivery[];
  /** How many each backend got. */
  readonly counts: readonly number[];
  /** Changes what they do from now on. */
  act: Act;
}

/** `count` backends. Balancers may begin with any of them, so most rules go by `nth`. */
export function cast(count: number, act: Act): Cast {
  const deliveries: Delivery[] = [];
  const company: Cast = {
    act,
    deliveries,
    get counts() {
      return Array.from(
        { length: count },
        (_, backend) => deliveries.filter((each) => each.backend === backend).length,
      );
    },
    scripts: Array.from({ length: count }, (_, backend) => async (wire: Wire) => {
      for (;;) {
        const request = await wire.request();
        const delivery = { backend, wire, request, nth: deliveries.length };
        deliveries.push(delivery);
        const answer = await company.act(delivery);
        if (answer !== undefined && !wire.closed) wire.write(answer);
      }
    }),
  };
  return company;
}

/** Sends `request` on a connection of its own, and reads the response. */
export function ask({ client }: Pick<Scene, "client">, request: string): Promise<Message> {
  const response = client().then((wire) => {
    wire.write(request);
    return wire.response(request.slice(0, request.indexOf(" ")));
  });
  // A test that has failed meanwhile leaves it behind.
  response.catch(() => {});
  return response;
}

/** A whole response with any status. */
export function reply(status: number, body = "", fields: readonly string[] = []): string {
  return `HTTP/1.1 ${status} Some Reason\r\n${fields.map((line) => `${line}\r\n`).join("")}Content-Length: ${body.length}\r\n\r\n${body}`;
}

/** Keeps answers back until they are released. */
export class Gate {
  #waiting: (() => void)[] = [];

  /** How many are kept back. */
  get size(): number {
    return this.#waiting.length;
  }

  /** Resolves with `answer` when it is let go. */
  hold(answer: string): Promise<string> {
    return new Promise((resolve) => {
      this.#waiting.push(() => resolve(answer));
    });
  }

  /** Lets the oldest go, or so many. */
  release(count = 1): void {
    for (const go of this.#waiting.splice(0, count)) go();
  }

  /** Resolves when so many are kept back. */
  filled(count: number): Promise<void> {
    return eventually(
      () => this.#waiting.length === count,
      () => `${count} are held, not ${this.#waiting.length}`,
    );
  }
}

/** Resolves when so many exchanges wait in the queues of the proxy. */
export function queued({ proxy }: Pick<Scene, "proxy">, count: number): Promise<void> {
  return eventually(
    () => proxy.plane.inspect().waiting === count,
    () => `${count} wait, not ${proxy.plane.inspect().waiting}`,
  );
}

/** Events of the log about what isolation did, in order. */
export function told({ proxy }: Pick<Scene, "proxy">): string[] {
  return proxy.logs.map(({ code }) => code);
}
