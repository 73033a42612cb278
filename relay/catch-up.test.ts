/** How long a site lacked what it was owed. */
import { expect, test } from 'vitest';
import { createCatchUp } from './catch-up.ts';

test('counts from the oldest entry until nothing old is owed, and not what is on its way', () => {
  let nowMs = 100_000;
  const told: string[] = [];
  const { note, lacking } = createCatchUp({
    clock: { wallMs: () => nowMs },
    events: { caughtUp: (site, ms) => told.push(`${site} ${ms}`) },
  });
  note('gcp', { count: 3, oldestMs: nowMs - 500 });
  note('gcp', { count: 0, oldestMs: undefined });
  expect(told).toEqual([]);
  note('gcp', { count: 3, oldestMs: nowMs - 4_000 });
  expect(lacking()).toEqual([]);
  nowMs += 20_000;
  note('gcp', { count: 9, oldestMs: nowMs - 22_000 });
  expect(lacking()).toEqual(['gcp']);
  note('hetzner', { count: 0, oldestMs: undefined });
  nowMs += 1_000;
  note('gcp', { count: 2, oldestMs: nowMs - 100 });
  note('gcp', { count: 0, oldestMs: undefined });
  expect(told).toEqual(['gcp 25000']);
  expect(lacking()).toEqual([]);
});
