/** Whose clock is wrong. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { clockOffset } from './clock-offset.ts';

test('with one other clock nobody can tell', () => {
  expect(clockOffset([])).toBe(0);
  expect(clockOffset([3_600_000])).toBe(0);
});

test('a clock that two others contradict is off by the middle one', () => {
  expect(clockOffset([-60_000, -61_000])).toBe(60_000);
  expect(clockOffset([60_000, 61_000])).toBe(-60_000);
});

test('one wrong clock among others does not make the own one wrong', () => {
  expect(clockOffset([0, 3_600_000])).toBe(-0);
  expect(Math.abs(clockOffset([2, -1, 3_600_000]))).toBe(1);
});

test('the offset is never larger than the largest skew', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -1e9, max: 1e9 }), { minLength: 2, maxLength: 15 }), (skews) => {
      expect(Math.abs(clockOffset(skews))).toBeLessThanOrEqual(Math.max(...skews.map(Math.abs)));
    }),
  );
});
