/** What is remembered and what is forgotten. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createRecent } from './recent.ts';

test('whatever is used in whatever order, the last half of the limit is known, right, and never more than the limit', () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 9 }), fc.array(fc.nat(15), { maxLength: 200 }), (max, keys) => {
      const recent = createRecent<number, number>(max);
      const values = new Map<number, number>();
      for (const [place, key] of keys.entries()) {
        const last = [...new Set(keys.slice(0, place).toReversed())].slice(0, Math.floor(max / 2));
        const found = recent.get(key);
        if (last.includes(key)) expect(found).toBeDefined();
        if (found === undefined) {
          recent.set(key, place);
          values.set(key, place);
        } else expect(found).toBe(values.get(key));
        expect(recent.size).toBeLessThanOrEqual(max);
      }
    }),
  );
});
