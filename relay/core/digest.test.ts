/** What a digest tells: not only that two sites differ, but also where. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { differingSlices, emptyDigest, SLICES, totalOf } from './digest.ts';

const slice = fc.nat({ max: SLICES - 1 });
const weight = fc.bigInt({ min: 1n, max: 2n ** 53n });

/** A digest with these sums in it. */
function digestOf(sums: ReadonlyMap<number, bigint>): readonly bigint[] {
  return emptyDigest().map((_, at) => sums.get(at) ?? 0n);
}

test('what one site has in one slice and another in another does not cancel out in the total', () => {
  fc.assert(
    fc.property(slice, slice, weight, (one, other, sum) => {
      fc.pre(one !== other);
      const here = digestOf(new Map([[one, sum]]));
      const there = digestOf(new Map([[other, sum]]));
      expect(totalOf(here)).not.toBe(totalOf(there));
      expect(differingSlices(here, there)).toEqual([one, other].sort((a, b) => a - b));
    }),
  );
});

test('a sum is the same whether it has gone below nothing, or round once, or neither', () => {
  fc.assert(
    fc.property(slice, weight, (at, sum) => {
      const plain = digestOf(new Map([[at, sum]]));
      for (const same of [sum - 2n ** 64n, sum + 2n ** 64n]) {
        const other = digestOf(new Map([[at, same]]));
        expect(totalOf(other)).toBe(totalOf(plain));
        expect(differingSlices(other, plain)).toEqual([]);
      }
    }),
  );
});
