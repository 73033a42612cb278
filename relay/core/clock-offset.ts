/**
 * Which clock is wrong? Compared with one other clock nobody can tell; among three or more the median is right as
 * long as most are.
 */

/**
 * Own clock minus the median of all clocks, milliseconds. `skewsMs` are the others' clocks minus the own one; with
 * fewer than two of them the answer is 0, because the fault may be the other's.
 */
export function clockOffset(skewsMs: readonly number[]): number {
  if (skewsMs.length < 2) return 0;
  const all = [0, ...skewsMs].sort((a, b) => a - b);
  const middle = Math.floor(all.length / 2);
  const upper = all[middle] ?? 0;
  const median = all.length % 2 === 1 ? upper : ((all[middle - 1] ?? 0) + upper) / 2;
  return -median;
}

/**
 * How far behind the own clock to be, milliseconds, when something is deleted because it has expired: by the median of
 * all clocks, and with one other clock, where nobody can tell which is right, by the slower one.
 */
export function expiryLag(skewsMs: readonly number[]): number {
  const aheadMs = skewsMs.length === 1 ? -(skewsMs[0] ?? 0) : clockOffset(skewsMs);
  return Math.max(0, aheadMs);
}
