/** Chance: replayable when seeded, uniform enough to be useful. */
import { expect, test } from 'vitest';
import { seededRandom, systemRandom } from './random.ts';

function take(seed: number): readonly number[] {
  const random = seededRandom(seed);
  return Array.from({ length: 8 }, () => random.fraction());
}

test('the same seed gives the same numbers, another seed others', () => {
  expect(take(7)).toEqual(take(7));
  expect(take(7)).not.toEqual(take(8));
});

test.each([
  ['system', systemRandom],
  ['seeded', seededRandom(1)],
])('fractions of the %s source lie in [0, 1) and are spread', (_, random) => {
  const fractions = Array.from({ length: 4000 }, () => random.fraction());
  expect(Math.min(...fractions)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...fractions)).toBeLessThan(1);
  const mean = fractions.reduce((sum, each) => sum + each, 0) / fractions.length;
  expect(mean).toBeGreaterThan(0.45);
  expect(mean).toBeLessThan(0.55);
});

test('bytes have the length that was asked for', () => {
  expect(systemRandom.bytes(33)).toHaveLength(33);
  expect(seededRandom(1).bytes(33)).toHaveLength(33);
});
