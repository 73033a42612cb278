/** Back-off: between nothing and a ceiling that doubles and ends. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { backoffMs } from './backoff.ts';

const config = { baseMs: 100, maxMs: 2000 };

test.each([
  [1, 100],
  [2, 200],
  [5, 1600],
  [6, 2000],
  [5000, 2000],
])('after %i failures the ceiling is %i ms', (failures, ceilingMs) => {
  expect(backoffMs(failures, 1, config)).toBe(ceilingMs);
});

test('the wait is never negative and never above the maximum', () => {
  fc.assert(
    fc.property(
      fc.nat(),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (failures, fraction) => {
        const ms = backoffMs(failures, fraction, config);
        return ms >= 0 && ms <= config.maxMs;
      },
    ),
  );
});
