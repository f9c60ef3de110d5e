/**
 * The word that was probably meant, or undefined where none is near: the same but for case, dashes and underscores, or
 * at most a third of its letters mistyped.
 */
export function suggest(written: string, words: Iterable<string>): string | undefined {
  let best: string | undefined;
  let least = Math.max(1, Math.floor(written.length / 3)) + 1;
  for (const word of words) {
    if (plain(word) === plain(written)) return word;
    // Long words cannot be a few letters apart from short ones, and the distance takes their product.
    if (Math.abs(word.length - written.length) >= least || written.length > 64) continue;
    const distance = typingDistance(written.toLowerCase(), word.toLowerCase());
    if (distance < least) {
      least = distance;
      best = word;
    }
  }
  return best;
}

function plain(word: string): string {
  return word.replace(/[-_]/g, "").toLowerCase();
}

/** Letters to insert, remove, replace or swap with the next (optimal string alignment). */
function typingDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let cost = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        cost = Math.min(cost, beforeLast[j - 2]! + 1);
      row.push(cost);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length]!;
}
