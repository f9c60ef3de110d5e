import { expect, test } from "vitest";
import { RateLimiter } from "./rate-limit.ts";
import { RateLimitFields } from "./rate-limit-fields.ts";

/** The fields after `count` requests at once. */
function fieldsAfter(count: number, options: { rate: number; per: number; burst: number }): string {
  const whole = { ...options, keys: 10 };
  const limiter = new RateLimiter(whole);
  for (let i = 1; i < count; i++) limiter.take("a", 0);
  return new RateLimitFields(whole).after(limiter.take("a", 0));
}

test.each([
  [1, { rate: 10, per: 1000, burst: 10 }, "q=10;w=1", "r=9;t=1"],
  [10, { rate: 10, per: 1000, burst: 10 }, "q=10;w=1", "r=0;t=1"],
  [1, { rate: 100, per: 3_600_000, burst: 100 }, "q=100;w=3600", "r=99;t=36"],
  [50, { rate: 100, per: 3_600_000, burst: 100 }, "q=100;w=3600", "r=50;t=1800"], // as the rate has it: 1 in 36 s
  [100, { rate: 100, per: 3_600_000, burst: 100 }, "q=100;w=3600", "r=0;t=36"], // the next one, not all of them
  [101, { rate: 100, per: 3_600_000, burst: 100 }, "q=100;w=3600", "r=0;t=36"], // refused
  [1, { rate: 10, per: 1000, burst: 50 }, "q=10;w=1", "r=49;t=1"],
  [1, { rate: 3, per: 100, burst: 3 }, "q=30;w=1", "r=2;t=1"], // there are whole seconds only
  [1, { rate: 1, per: 1500, burst: 1 }, "q=1;w=2", "r=0;t=2"],
])("after %i requests of %j: %s, %s", (count, options, policy, limit) => {
  expect(fieldsAfter(count, options)).toBe(
    `ratelimit-policy: "default";${policy}\r\nratelimit: "default";${limit}\r\n`,
  );
});
