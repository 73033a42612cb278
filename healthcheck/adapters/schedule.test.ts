/**
 * Constant work, whatever the tasks do.
 */
import { expect, test } from 'vitest';
import { seededRandom } from '../../system/random.ts';
import { createManualClock } from '../../test/support/manual-clock.ts';
import { everyPeriod } from './schedule.ts';

function started(): {
  readonly runsMs: number[];
  readonly clock: ReturnType<typeof createManualClock>;
  readonly stop: () => void;
} {
  const clock = createManualClock();
  const runsMs: number[] = [];
  const stop = everyPeriod(1000, () => runsMs.push(clock.monotonicMs()), { clock, random: seededRandom(1) });
  return { runsMs, clock, stop };
}

test('a task begins within one period and then keeps it, without drift', () => {
  const { runsMs, clock } = started();
  clock.advance(100_000);
  expect(runsMs).toHaveLength(100);
  const [first = Number.NaN] = runsMs;
  expect(first).toBeLessThan(1000);
  runsMs.forEach((atMs, index) => expect(atMs).toBeCloseTo(first + index * 1000));
});

test('a machine that stood still runs the task once, and not for every period it missed', () => {
  const clock = createManualClock();
  let runs = 0;
  let lateMs = 0;
  // Every timer of this clock fires ten periods late.
  const late = { ...clock, monotonicMs: () => clock.monotonicMs() + lateMs };
  everyPeriod(1000, () => (runs += 1), { clock: late, random: { ...seededRandom(1), fraction: () => 0 } });
  clock.advance(1);
  expect(runs).toBe(1);
  lateMs = 10_000;
  clock.advance(1000);
  expect(runs).toBe(2);
  clock.advance(900);
  expect(runs).toBe(2);
});

test('two tasks of one period have phases of their own', () => {
  const clock = createManualClock();
  const random = seededRandom(7);
  const firstRuns = Array.from({ length: 50 }, () => {
    let firstMs = Number.NaN;
    const stop = everyPeriod(1000, () => (firstMs = Number.isNaN(firstMs) ? clock.monotonicMs() : firstMs), {
      clock,
      random,
    });
    const startMs = clock.monotonicMs();
    clock.advance(1000);
    stop();
    return firstMs - startMs;
  });
  expect(new Set(firstRuns.map(Math.round)).size).toBeGreaterThan(40);
});

test('a task that was stopped never runs again', () => {
  const { runsMs, clock, stop } = started();
  clock.advance(3000);
  stop();
  clock.advance(10_000);
  expect(runsMs).toHaveLength(3);
});
