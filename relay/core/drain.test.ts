/** How a crowd of recipients is spread when its relay stops. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { drainWindowMs, leaveAfterMs } from './drain.ts';

test('every recipient leaves within the window, and no moment gets more than its share', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2000 }), fc.integer({ min: 0, max: 60_000 }), (count, maxMs) => {
      const windowMs = drainWindowMs(count, maxMs);
      expect(windowMs).toBeLessThanOrEqual(maxMs);
      const seconds = new Map<number, number>();
      for (let place = 0; place < count; place += 1) {
        const atMs = leaveAfterMs(place, count, windowMs);
        expect(atMs).toBeLessThanOrEqual(windowMs);
        const second = Math.floor(atMs / 1000);
        seconds.set(second, (seconds.get(second) ?? 0) + 1);
      }
      const fairShare = windowMs <= 1000 ? count : Math.ceil((count * 1000) / windowMs) + 1;
      expect(Math.max(...seconds.values())).toBeLessThanOrEqual(fairShare);
    }),
  );
});

test('the few recipients of a small relay are not made to wait', () => {
  expect(drainWindowMs(0, 20_000)).toBe(0);
  expect(drainWindowMs(3, 20_000)).toBe(30);
  expect(drainWindowMs(1_000_000, 20_000)).toBe(20_000);
});
