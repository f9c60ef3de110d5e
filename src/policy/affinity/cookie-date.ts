const DELIMITERS = /[\t -/;-@[-`{-~]+/;
const TIME = /^([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:[^0-9]|$)/;
const DAY = /^([0-9]{1,2})(?:[^0-9]|$)/;
const YEAR = /^([0-9]{2,4})(?:[^0-9]|$)/;
const MONTH = /^(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)/i;
const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/**
 * The time that an Expires attribute names, in milliseconds since the Unix epoch, as browsers read it (RFC 6265bis
 * section 5.1.1), who take nearly any order and spelling; NaN where they find none.
 */
export function cookieDate(text: string): number {
  const tokens = text.split(DELIMITERS);
  const [time, days, month, years] = [take(tokens, TIME), take(tokens, DAY), take(tokens, MONTH), take(tokens, YEAR)];
  if (time === undefined || days === undefined || month === undefined || years === undefined) return Number.NaN;
  const [hours, minutes, seconds] = time.map(Number) as [number, number, number];
  const year = inFull(Number(years[0]));
  if (hours > 23 || minutes > 59 || seconds > 59 || year < 1601) return Number.NaN;
  const day = Number(days[0]);
  const midnight = Date.UTC(year, MONTHS.indexOf(month[0]!.toLowerCase()), day);
  // Date.UTC takes 31 February for 3 March.
  if (new Date(midnight).getUTCDate() !== day) return Number.NaN;
  return midnight + ((hours * 60 + minutes) * 60 + seconds) * 1000;
}

/** What the first token of this form holds; it does not count a second time. */
function take(tokens: string[], form: RegExp): readonly string[] | undefined {
  const index = tokens.findIndex((token) => form.test(token));
  return index === -1 ? undefined : form.exec(tokens.splice(index, 1)[0]!)!.slice(1);
}

function inFull(year: number): number {
  if (year > 99) return year;
  return year < 70 ? 2000 + year : 1900 + year;
}
