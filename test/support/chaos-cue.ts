import { pause, turn } from "./wire.ts";

/** Something that one side of a cell waits for and the other side says, once. */
export class Cue {
  readonly #said: Promise<boolean>;
  #say: (said: boolean) => void = () => {};
  given = false;

  constructor() {
    this.#said = new Promise((resolve) => {
      this.#say = resolve;
    });
  }

  give(): void {
    this.given = true;
    this.#say(true);
  }

  /** False when it has not come in time. */
  async within(ms: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), ms);
    });
    const came = await Promise.race([this.#said, late]);
    clearTimeout(timer);
    return came;
  }
}

/** What the two sides of a cell tell each other. */
export interface Cues {
  /** The backend does what it is there for. */
  readonly struck: Cue;
  /** The backend has read a request, whole. */
  readonly arrived: Cue;
  /** The client has done what it is there for: a backend that holds its answer goes on. */
  readonly released: Cue;
  /** How long anybody waits for a cue. */
  readonly patienceMs: number;
}

export function cues(patienceMs = 5_000): Cues {
  return { struck: new Cue(), arrived: new Cue(), released: new Cue(), patienceMs };
}

/** Until what was sent has been read by everybody: a while, and then some turns of the event loop however late it is. */
export async function settled(): Promise<void> {
  await pause(10);
  await turn();
  await turn();
}
