const SECONDS = /^-?[0-9]+$/;

const WEEKDAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)";
const LONG_WEEKDAY = "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day";
const MONTH = "(?<month>Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)";
const DAY = "(?<day>[0-9]{2})";
const YEAR = "(?<year>[0-9]{4})";
const TIME = "(?<hour>[01][0-9]|2[0-3]):(?<minute>[0-5][0-9]):(?<second>[0-5][0-9]|60)";

/** RFC 9110 section 5.6.7: what is sent today, and the two forms that a recipient still has to understand. */
const DATES = [
  new RegExp(`^${WEEKDAY}, ${DAY} ${MONTH} ${YEAR} ${TIME} GMT$`),
  new RegExp(`^${LONG_WEEKDAY}, ${DAY}-${MONTH}-(?<year>[0-9]{2}) ${TIME} GMT$`),
  new RegExp(`^${WEEKDAY} ${MONTH} (?<day>[0-9]{2}| [0-9]) ${TIME} ${YEAR}$`),
];

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/**
 * How long a Retry-After field asks to wait (RFC 9110 section 10.2.3), in milliseconds from `nowWallMs`, which counts
 * from the Unix epoch. 0 for what lies in the past and for negative seconds, which some servers send; undefined for
 * what is neither seconds nor a date. There is no upper limit: it is for the caller to say what is too long.
 */
export function retryAfterMs(value: string, nowWallMs: number): number | undefined {
  if (SECONDS.test(value)) return Math.max(0, Number(value) * 1000);
  const date = parseDate(value, nowWallMs);
  return date === undefined ? undefined : Math.max(0, date - nowWallMs);
}

function parseDate(value: string, nowWallMs: number): number | undefined {
  for (const form of DATES) {
    const parts = form.exec(value)?.groups;
    if (parts === undefined) continue;
    const year = fullYear(parts.year!, nowWallMs);
    const month = MONTHS.indexOf(parts.month!);
    const day = Number(parts.day);
    const midnight = Date.UTC(year, month, day);
    // Date.UTC takes 31 February for 3 March.
    if (new Date(midnight).getUTCDate() !== day) return undefined;
    return midnight + ((Number(parts.hour) * 60 + Number(parts.minute)) * 60 + Number(parts.second)) * 1000;
  }
  return undefined;
}

/** Two digits mean the year of this century, unless that is more than 50 years ahead: then the last one (RFC 9110). */
function fullYear(digits: string, nowWallMs: number): number {
  if (digits.length === 4) return Number(digits);
  const thisYear = new Date(nowWallMs).getUTCFullYear();
  const year = thisYear - (thisYear % 100) + Number(digits);
  return year > thisYear + 50 ? year - 100 : year;
}
