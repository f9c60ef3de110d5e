// What a server of the shop can do.

/** Requests it works on at a time; the others wait in line, first come first served. */
export const concurrency = 6;
/** A request takes this long, */
export const leastMs = 15;
/** and an exponential rest with this mean. */
export const meanRestMs = 5;
/** Requests per second that one server can serve. */
export const capacity = (concurrency * 1000) / (leastMs + meanRestMs);
