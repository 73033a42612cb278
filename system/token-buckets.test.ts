/** Rates by key. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createTokenBuckets } from './token-buckets.ts';

test('over any stretch of time a key gets no more than its burst and its rate', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(2000), { maxLength: 200 }), (gapsMs) => {
      const buckets = createTokenBuckets({ perSecond: 2, burst: 5, keysMax: 10 });
      let nowMs = 0;
      let taken = 0;
      for (const gapMs of gapsMs) {
        nowMs += gapMs;
        if (buckets.take('key', nowMs)) taken += 1;
      }
      expect(taken).toBeLessThanOrEqual(5 + (nowMs * 2) / 1000);
    }),
  );
});

test('a key that waited gets its tokens back, up to the burst', () => {
  const buckets = createTokenBuckets({ perSecond: 1, burst: 2, keysMax: 10 });
  const take = (nowMs: number): boolean => buckets.take('key', nowMs);
  expect([take(0), take(0), take(0), take(1000), take(1000)]).toEqual([true, true, false, true, false]);
  expect([take(60_000), take(60_000), take(60_000)]).toEqual([true, true, false]);
});

test('keys do not touch each other, and no more are remembered than the limit', () => {
  const buckets = createTokenBuckets({ perSecond: 1, burst: 1, keysMax: 4 });
  for (const key of ['a', 'b', 'c']) expect(buckets.take(key, 0)).toBe(true);
  expect(buckets.take('a', 0)).toBe(false);
  buckets.take('d', 0);
  expect(buckets.size).toBeLessThanOrEqual(4);
  // 'b' was idle the longest.
  expect(buckets.take('a', 0)).toBe(false);
  expect(buckets.take('b', 0)).toBe(true);
});

test('several tokens are taken together or not at all, and looking takes none', () => {
  const buckets = createTokenBuckets({ perSecond: 1, burst: 5, keysMax: 10 });
  expect(buckets.take('key', 0, 4)).toBe(true);
  expect(buckets.take('key', 0, 2)).toBe(false);
  expect([buckets.left('key', 0), buckets.take('key', 0), buckets.left('key', 0)]).toEqual([1, true, 0]);
  expect([buckets.left('key', 1500), buckets.left('other', 0), buckets.size]).toEqual([1.5, 5, 1]);
});
