/** The smallest value that this share of all does not exceed; undefined without values.
 * @param {readonly number[]} values @param {number} share */
export function quantile(values, share) {
  if (values.length === 0) return undefined;
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}
