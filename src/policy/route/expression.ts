/**
 * Regular expressions that take time linear in the text, whatever they say.
 *
 * The engine of the platform backtracks: `^(a+)+$` on forty letters keeps a thread busy for minutes, and the text
 * comes from a stranger. Here an expression becomes a set of states that all advance together (Thompson, "Regular
 * expression search algorithm", CACM 11(6), 1968); sets met once are remembered as single states with a table of
 * where each character leads (the lazy construction of RE2 and grep). A character costs one look-up, or at worst the
 * size of the expression.
 *
 * What cannot be done this way is refused: look-around, back-references, word boundaries. All else means what it
 * means in JavaScript, without flags. The expression itself is printable ASCII.
 */

/** Longest source. With {@link MOST_STATES} it bounds memory and the cost of a character. */
export const LONGEST_EXPRESSION = 1024;
const MOST_STATES = 2000;
const DEEPEST_GROUP = 50;
const MOST_REPEATS = 1000;
/** Sets of states remembered; beyond that they are forgotten and found anew. About 1 KiB each. */
const MOST_REMEMBERED = 256;

/** Characters are told apart up to here; all beyond ASCII count as one, for no expression can name them. */
const OTHER = 128;
const ALPHABET = OTHER + 1;

/** Why a source is no expression, and what to do about it. */
export interface ExpressionMistake {
  readonly mistake: string;
  readonly fix: string;
}

/** A set of characters, by code. */
type CharSet = Uint8Array;

type Node =
  | { readonly kind: "set"; readonly set: CharSet }
  | { readonly kind: "start" | "end" }
  | { readonly kind: "sequence"; readonly items: readonly Node[] }
  | { readonly kind: "either"; readonly options: readonly Node[] }
  | { readonly kind: "repeat"; readonly item: Node; readonly min: number; readonly max: number };

interface State {
  readonly kind: "set" | "split" | "start" | "end" | "match";
  readonly set: CharSet | undefined;
  next: number;
  other: number;
}

/** Some states together, with what is known of where each character leads from them. */
interface Remembered {
  readonly states: readonly number[];
  readonly next: (Remembered | undefined)[];
  /** The text so far holds a match. */
  readonly matched: boolean;
  /** It does if it ends here. */
  readonly matchedAtEnd: boolean;
  /** No continuation can match. */
  readonly dead: boolean;
}

/** Compiles `source`, or says what is wrong with it. */
export function compileExpression(source: string): Expression | ExpressionMistake {
  try {
    return new Expression(new Parser(source).parse());
  } catch (error) {
    if (error instanceof Refused) return { mistake: error.message, fix: error.fix };
    throw error;
  }
}

class Refused extends Error {
  readonly fix: string;

  constructor(mistake: string, fix: string) {
    super(mistake);
    this.fix = fix;
  }
}

/** A compiled expression. */
export class Expression {
  readonly #states: State[] = [];
  readonly #entry: number;
  #remembered = new Map<string, Remembered>();
  #begin: Remembered;
  /** Which states the running closure has seen: a mark per round, so that nothing is cleared. */
  readonly #seen: Uint32Array;
  #round = 0;

  /** Use {@link compileExpression}. */
  constructor(root: Node) {
    const match = this.#add({ kind: "match", set: undefined, next: -1, other: -1 });
    this.#entry = this.#build(root, match);
    this.#seen = new Uint32Array(this.#states.length);
    this.#begin = this.#remember(this.#closure([this.#entry], true));
  }

  /** Whether the expression is found in `text` before `end`. */
  test(text: string, end: number = text.length): boolean {
    let at = this.#begin;
    for (let index = 0; index < end; index++) {
      if (at.matched) return true;
      if (at.dead) return false;
      const code = text.charCodeAt(index);
      const char = Math.min(code, OTHER);
      at = at.next[char] ?? this.#advance(at, char);
    }
    return at.matched || (end === 0 ? this.#closes(this.#begin.states, true) : at.matchedAtEnd);
  }

  #advance(from: Remembered, char: number): Remembered {
    const reached: number[] = [];
    for (const state of from.states) {
      const { set, next } = this.#states[state]!;
      if (set?.[char] === 1) reached.push(next);
    }
    // A match may begin anywhere, so the entry joins at every character.
    reached.push(this.#entry);
    const to = this.#remember(this.#closure(reached, false));
    from.next[char] = to;
    return to;
  }

  #remember(states: number[]): Remembered {
    const key = states.join();
    const known = this.#remembered.get(key);
    if (known !== undefined) return known;
    if (this.#remembered.size >= MOST_REMEMBERED) {
      this.#remembered = new Map();
      this.#begin = { ...this.#begin, next: new Array(ALPHABET).fill(undefined) };
    }
    const entry: Remembered = {
      states,
      next: new Array(ALPHABET).fill(undefined),
      matched: states.some((state) => this.#states[state]!.kind === "match"),
      matchedAtEnd: this.#closes(states, false),
      dead: states.length === 0,
    };
    this.#remembered.set(key, entry);
    return entry;
  }

  /** Whether a match is reached from `states` when the text ends here. */
  #closes(states: readonly number[], atStart: boolean): boolean {
    return this.#closure(states, atStart, true).some((state) => this.#states[state]!.kind === "match");
  }

  /** What is reached without a character: states that read one, that end a match, or that wait for the end of the text. */
  #closure(from: readonly number[], atStart: boolean, atEnd = false): number[] {
    const round = ++this.#round;
    const found: number[] = [];
    const open = [...from];
    while (open.length > 0) {
      const index = open.pop()!;
      if (this.#seen[index] === round) continue;
      this.#seen[index] = round;
      const state = this.#states[index]!;
      if (state.kind === "split") open.push(state.next, state.other);
      else if (state.kind === "start") {
        if (atStart) open.push(state.next);
      } else if (state.kind === "end") {
        if (atEnd) open.push(state.next);
        else found.push(index);
      } else found.push(index);
    }
    return found.sort((a, b) => a - b);
  }

  #add(state: State): number {
    if (this.#states.length >= MOST_STATES)
      throw new Refused("the expression is too large", "Repeat less, or write several routes");
    return this.#states.push(state) - 1;
  }

  /** Builds backwards: the states of `node`, which go on to `next`. */
  #build(node: Node, next: number): number {
    switch (node.kind) {
      case "set":
        return this.#add({ kind: "set", set: node.set, next, other: -1 });
      case "start":
      case "end":
        return this.#add({ kind: node.kind, set: undefined, next, other: -1 });
      case "sequence":
        return node.items.reduceRight((after, item) => this.#build(item, after), next);
      case "either":
        return node.options
          .map((option) => this.#build(option, next))
          .reduceRight((other, option) => this.#add({ kind: "split", set: undefined, next: option, other }));
      case "repeat":
        return this.#repeat(node, next);
    }
  }

  #repeat({ item, min, max }: Extract<Node, { kind: "repeat" }>, next: number): number {
    let entry = next;
    if (max === Number.POSITIVE_INFINITY) {
      entry = this.#add({ kind: "split", set: undefined, next: -1, other: next });
      this.#states[entry]!.next = this.#build(item, entry);
    } else {
      for (let count = min; count < max; count++) {
        entry = this.#add({ kind: "split", set: undefined, next: this.#build(item, entry), other: next });
      }
    }
    for (let count = 0; count < min; count++) entry = this.#build(item, entry);
    return entry;
  }
}

function setOf(holds: (code: number) => boolean): CharSet {
  return Uint8Array.from({ length: ALPHABET }, (_, code) => (holds(code) ? 1 : 0));
}

function not(set: CharSet): CharSet {
  return set.map((member) => 1 - member);
}

function single(char: string): CharSet {
  const wanted = char.charCodeAt(0);
  return setOf((code) => code === wanted);
}

const DIGIT = setOf((code) => code >= 0x30 && code <= 0x39);
const WORD = setOf((code) => code < OTHER && /\w/.test(String.fromCharCode(code)));
const SPACE = setOf((code) => code < OTHER && /\s/.test(String.fromCharCode(code)));
const ANY = setOf((code) => code !== 0x0a && code !== 0x0d);

const CLASSES: Readonly<Record<string, CharSet>> = {
  d: DIGIT,
  D: not(DIGIT),
  w: WORD,
  W: not(WORD),
  s: SPACE,
  S: not(SPACE),
};

class Parser {
  readonly #source: string;
  #at = 0;
  #depth = 0;

  constructor(source: string) {
    this.#source = source;
  }

  parse(): Node {
    if (this.#source.length > LONGEST_EXPRESSION) {
      throw new Refused(`the expression is longer than ${LONGEST_EXPRESSION} characters`, "Write several routes");
    }
    if (/[^\x20-\x7e]/.test(this.#source)) {
      throw new Refused(
        "the expression holds a character that no path is sent with",
        "Write it percent-encoded, as it is sent",
      );
    }
    const node = this.#either();
    if (this.#peek() === ")")
      throw new Refused("a parenthesis is closed that was never opened", "Write \\) for the character itself");
    return node;
  }

  #peek(): string {
    return this.#source.charAt(this.#at);
  }

  #take(): string {
    return this.#source.charAt(this.#at++);
  }

  #eat(text: string): boolean {
    if (!this.#source.startsWith(text, this.#at)) return false;
    this.#at += text.length;
    return true;
  }

  #either(): Node {
    const options = [this.#sequence()];
    while (this.#eat("|")) options.push(this.#sequence());
    return options.length === 1 ? options[0]! : { kind: "either", options };
  }

  #sequence(): Node {
    const items: Node[] = [];
    for (let next = this.#peek(); next !== "" && next !== "|" && next !== ")"; next = this.#peek())
      items.push(this.#term());
    return { kind: "sequence", items };
  }

  #term(): Node {
    if (this.#eat("^")) return this.#unrepeated({ kind: "start" }, "^");
    if (this.#eat("$")) return this.#unrepeated({ kind: "end" }, "$");
    return this.#quantified(this.#atom());
  }

  #unrepeated(node: Node, sign: string): Node {
    if (/[*+?{]/.test(this.#peek() || " ")) throw new Refused(`${sign} cannot be repeated`, "Leave the repetition out");
    return node;
  }

  #atom(): Node {
    const char = this.#take();
    switch (char) {
      case "(":
        return this.#group();
      case "[":
        return { kind: "set", set: this.#class() };
      case ".":
        return { kind: "set", set: ANY };
      case "\\":
        return { kind: "set", set: this.#escape() };
      case "*":
      case "+":
      case "?":
        throw new Refused(`there is nothing for ${char} to repeat`, `Write \\${char} for the character itself`);
      case "{":
      case "}":
      case "]":
        throw new Refused(`${char} stands where it has no meaning`, `Write \\${char} for the character itself`);
      default:
        return { kind: "set", set: single(char) };
    }
  }

  #group(): Node {
    if (++this.#depth > DEEPEST_GROUP)
      throw new Refused(`groups are nested more than ${DEEPEST_GROUP} deep`, "Write several routes");
    if (/^\?<?[=!]/.test(this.#source.slice(this.#at, this.#at + 3))) {
      throw new Refused(
        "look-around cannot be matched in linear time",
        "Match a part of the path, and the rest by another route",
      );
    }
    if (this.#peek() === "?" && !this.#eat("?:")) {
      const name = /^\?<[A-Za-z_]\w*>/.exec(this.#source.slice(this.#at));
      if (name === null) throw new Refused("(? is not followed by anything known", "Write (?: for a group");
      this.#at += name[0].length;
    }
    const node = this.#either();
    if (!this.#eat(")")) throw new Refused("a parenthesis is never closed", "Write \\( for the character itself");
    this.#depth--;
    return node;
  }

  #quantified(item: Node): Node {
    const bounds = this.#bounds();
    if (bounds === undefined) return item;
    // Lazy or greedy is the same here: only whether there is a match counts.
    this.#eat("?");
    if (/[*+?{]/.test(this.#peek() || " ")) {
      throw new Refused("a repetition is repeated", "Put the inner one in parentheses");
    }
    return { kind: "repeat", item, ...bounds };
  }

  #bounds(): { min: number; max: number } | undefined {
    if (this.#eat("*")) return { min: 0, max: Number.POSITIVE_INFINITY };
    if (this.#eat("+")) return { min: 1, max: Number.POSITIVE_INFINITY };
    if (this.#eat("?")) return { min: 0, max: 1 };
    if (this.#peek() !== "{") return undefined;
    const match = /^\{(\d{1,6})(,(\d{0,6}))?\}/.exec(this.#source.slice(this.#at));
    if (match === null)
      throw new Refused("{ begins no repetition", "Write {2}, {2,} or {2,5}, or \\{ for the character itself");
    this.#at += match[0].length;
    const min = Number(match[1]);
    const max = match[2] === undefined ? min : match[3] === "" ? Number.POSITIVE_INFINITY : Number(match[3]);
    if (min > max) throw new Refused(`${match[0]} ends before it begins`, `Write {${max},${min}}`);
    if (min > MOST_REPEATS || (max > MOST_REPEATS && max !== Number.POSITIVE_INFINITY)) {
      throw new Refused(`${match[0]} repeats more than ${MOST_REPEATS} times`, "Repeat less, or write + or *");
    }
    return { min, max };
  }

  #class(): CharSet {
    const negated = this.#eat("^");
    const set = new Uint8Array(ALPHABET);
    if (this.#peek() === "]")
      throw new Refused("[] matches nothing", "Write \\[ and \\] for the characters themselves");
    while (!this.#eat("]")) {
      if (this.#peek() === "") throw new Refused("a bracket is never closed", "Write \\[ for the character itself");
      const low = this.#member();
      if (this.#peek() !== "-" || this.#source.charAt(this.#at + 1) === "]") {
        for (let code = 0; code < ALPHABET; code++) set[code]! |= low[code]!;
        continue;
      }
      this.#at++;
      if (this.#peek() === "") throw new Refused("a bracket is never closed", "Write \\[ for the character itself");
      const high = this.#member();
      this.#range(set, low, high);
    }
    return negated ? not(set) : set;
  }

  #range(set: CharSet, low: CharSet, high: CharSet): void {
    const from = low.indexOf(1);
    const to = high.indexOf(1);
    if (low.lastIndexOf(1) !== from || high.lastIndexOf(1) !== to) {
      throw new Refused("a range begins or ends with a class", "Write \\- for the character itself");
    }
    if (from > to) throw new Refused("a range ends before it begins", "Write the lower character first");
    set.fill(1, from, to + 1);
  }

  #member(): CharSet {
    const char = this.#take();
    return char === "\\" ? this.#escape() : single(char);
  }

  #escape(): CharSet {
    const char = this.#take();
    if (char === "") throw new Refused("a backslash ends the expression", "Write \\\\ for the character itself");
    if (Object.hasOwn(CLASSES, char)) return CLASSES[char]!;
    if (!/[A-Za-z0-9]/.test(char)) return single(char);
    if (/[1-9k]/.test(char))
      throw new Refused("back-references cannot be matched in linear time", "Write the text again");
    if (/[bB]/.test(char))
      throw new Refused(`\\${char} is not known here`, "Write the character that has to stand there, or [^a-z]");
    throw new Refused(`\\${char} is not known here`, "Write the character itself");
  }
}
