import fc from "fast-check";
import { expect, test } from "vitest";
import { RateLimiter } from "./rate-limit.ts";

const TEN_PER_SECOND = { rate: 10, per: 1000, burst: 20, keys: 100 };

/** How many of `count` requests at `now` are allowed. */
function allowed(limiter: RateLimiter, key: string, now: number, count: number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) if (limiter.take(key, now).allowed) sum++;
  return sum;
}

test("burst at once, then one each per / rate", () => {
  const limiter = new RateLimiter(TEN_PER_SECOND);
  expect(allowed(limiter, "a", 0, 100)).toBe(20);
  expect(allowed(limiter, "a", 99, 100)).toBe(0);
  expect(allowed(limiter, "a", 100, 100)).toBe(1);
  expect(allowed(limiter, "a", 450, 100)).toBe(3);
  expect(allowed(limiter, "a", 2399, 100)).toBe(19); // half a token was left at 450; 1949 ms brought 19.49
  expect(allowed(limiter, "a", 1_000_000, 100)).toBe(20);
});

test("says how many are left, when the next is allowed and when all are", () => {
  const limiter = new RateLimiter({ rate: 2, per: 1000, burst: 3, keys: 100 });
  expect(limiter.take("a", 0)).toEqual({ allowed: true, remaining: 2, retryAfterMs: 0, resetMs: 500 });
  expect(limiter.take("a", 100)).toEqual({ allowed: true, remaining: 1, retryAfterMs: 0, resetMs: 900 });
  expect(limiter.take("a", 100)).toEqual({ allowed: true, remaining: 0, retryAfterMs: 0, resetMs: 1400 });
  expect(limiter.take("a", 100)).toEqual({ allowed: false, remaining: 0, retryAfterMs: 400, resetMs: 1400 });
  expect(limiter.take("a", 499)).toEqual({ allowed: false, remaining: 0, retryAfterMs: 1, resetMs: 1001 });
  expect(limiter.take("a", 500)).toEqual({ allowed: true, remaining: 0, retryAfterMs: 0, resetMs: 1500 });
});

test("what is refused costs nothing: who hammers gets its rate all the same", () => {
  const limiter = new RateLimiter(TEN_PER_SECOND);
  let sum = 0;
  for (let now = 0; now <= 10_000; now++) sum += allowed(limiter, "a", now, 3);
  expect(sum).toBe(20 + 100);
});

test("one key does not use up another's", () => {
  const limiter = new RateLimiter(TEN_PER_SECOND);
  expect(allowed(limiter, "a", 0, 100)).toBe(20);
  expect(allowed(limiter, "b", 0, 100)).toBe(20);
});

test("a rate that does not divide its time is kept over a long time, exactly", () => {
  const limiter = new RateLimiter({ rate: 3, per: 1000, burst: 2, keys: 100 });
  let sum = 0;
  for (let now = 0; now < 100_000; now++) sum += allowed(limiter, "a", now, 1);
  expect(sum).toBe(2 + 299);
  expect(limiter.take("a", 100_000).allowed).toBe(true);
});

test("long keys are told apart", () => {
  const limiter = new RateLimiter({ ...TEN_PER_SECOND, burst: 1 });
  const long = "x".repeat(8000);
  expect(limiter.take(`${long}a`, 0).allowed).toBe(true);
  expect(limiter.take(`${long}b`, 0).allowed).toBe(true);
  expect(limiter.take(`${long}`, 0).allowed).toBe(true);
  expect(limiter.take(`${long}a`, 0).allowed).toBe(false);
});

test("a million different keys leave exactly as many as are to be kept, the last ones", () => {
  const limiter = new RateLimiter({ rate: 1, per: 1000, burst: 1, keys: 1000 });
  for (let i = 0; i < 1_000_000; i++) limiter.take(String(i), 0);
  expect(limiter.size).toBe(1000);
  expect(limiter.evicted).toBe(999_000);
  expect(limiter.take("999000", 0).allowed).toBe(false);
  expect(limiter.take("998999", 0).allowed).toBe(true);
});

test("who comes again and again is not forgotten among many that come once", () => {
  const limiter = new RateLimiter({ rate: 1, per: 1000, burst: 5, keys: 10 });
  let sum = 0;
  for (let i = 0; i < 1000; i++) {
    limiter.take(`once ${i}`, 0);
    sum += allowed(limiter, "again", 0, 1);
  }
  expect(sum).toBe(5);
});

test("only those forgotten too early are counted", () => {
  const limiter = new RateLimiter({ rate: 1, per: 1000, burst: 2, keys: 1 });
  limiter.take("a", 0);
  limiter.take("b", 1000); // a's bucket is full again
  expect(limiter.evicted).toBe(0);
  limiter.take("c", 1999); // b's is not
  expect(limiter.evicted).toBe(1);
  expect(limiter.size).toBe(1);
});

test("allows what a bucket with tokens allows, and says the truth about later", () => {
  const request = fc.record({ key: fc.constantFrom("a", "b", "c"), gapMs: fc.oneof(fc.constant(0), fc.nat(300)) });
  const options = fc.record({
    rate: fc.integer({ min: 1, max: 50 }),
    per: fc.integer({ min: 1, max: 5000 }),
    burst: fc.integer({ min: 1, max: 20 }),
    keys: fc.constant(3),
  });
  fc.assert(
    fc.property(options, fc.array(request, { size: "large", maxLength: 200 }), (options, requests) => {
      const limiter = new RateLimiter(options);
      const { rate, per, burst } = options;
      // Tokens times per, so that the model need not round either.
      const buckets = new Map<string, { level: number; atMs: number }>();
      let now = 0;
      for (const { key, gapMs } of requests) {
        now += gapMs;
        const bucket = buckets.get(key) ?? { level: burst * per, atMs: now };
        buckets.set(key, bucket);
        bucket.level = Math.min(burst * per, bucket.level + (now - bucket.atMs) * rate);
        bucket.atMs = now;
        const allowed = bucket.level >= per;
        if (allowed) bucket.level -= per;
        expect(limiter.take(key, now)).toEqual({
          allowed,
          remaining: Math.floor(bucket.level / per),
          retryAfterMs: allowed ? 0 : (per - bucket.level) / rate,
          resetMs: (burst * per - bucket.level) / rate,
        });
      }
    }),
  );
});
