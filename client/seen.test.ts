/**
 * What a receiver remembers, and what it forgets when it must.
 */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { createSeen } from './seen.ts';

const settled = (expiresMs: number) => ({ isForgettable: true, expiresMs });

test('an id is remembered until its message has expired', () => {
  const seen = createSeen(100);
  seen.set('early', settled(1000), 0);
  seen.set('late', settled(9_000_000), 0);
  for (let index = 0; index < 200; index += 1) seen.set(`other ${index}`, settled(1000), 5000);
  expect(seen.get('early')).toBeUndefined();
  expect(seen.get('late')).toBeDefined();
});

test('the oldest are forgotten first when there are too many', () => {
  const seen = createSeen(100);
  for (let index = 0; index <= 100; index += 1) seen.set(`id ${index}`, settled(9_000_000), 0);
  expect(seen.get('id 0')).toBeUndefined();
  expect(seen.get('id 100')).toBeDefined();
});

test('what is not settled is never forgotten, and only that can exceed the limit', () => {
  const operation = fc.record({ id: fc.nat(400), isForgettable: fc.boolean(), expiresMs: fc.nat(2000) });
  fc.assert(
    fc.property(
      fc.array(operation, { maxLength: 600, size: 'max' }),
      fc.integer({ min: 1, max: 50 }),
      (list, idsMax) => {
        const seen = createSeen(idsMax);
        const unsettled = new Set<string>();
        let unsettledMax = 0;
        for (const [nowMs, { id, ...entry }] of list.entries()) {
          const key = String(id);
          seen.set(key, entry, nowMs);
          if (entry.isForgettable) unsettled.delete(key);
          else unsettled.add(key);
          unsettledMax = Math.max(unsettledMax, unsettled.size);
          expect(seen.size).toBeLessThanOrEqual(Math.max(idsMax, unsettledMax));
        }
        for (const key of unsettled) expect(seen.get(key)).toBeDefined();
      },
    ),
    { numRuns: 50 },
  );
});
