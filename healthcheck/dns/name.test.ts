/**
 * Names on the wire: limits, case, compression, and what hostile pointers cannot do.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeName, endOfPlainName, labelsOf, readName } from './name.ts';

test('a name reads back as it was written', () => {
  const anyName = fc
    .array(fc.stringMatching(/^[\w-]{1,20}$/), { maxLength: 8 })
    .map((labels) => labels.join('.'));
  fc.assert(
    fc.property(anyName, (name) => {
      const bytes = encodeName(name);
      expect(readName(bytes, 0)).toStrictEqual({ name, end: bytes.length });
      expect(endOfPlainName(bytes, 0)).toBe(bytes.length);
    }),
  );
});

test('labels have at most 63 bytes and names 255', () => {
  expect(() => labelsOf('x'.repeat(64))).toThrow(RangeError);
  expect(() => labelsOf(Array(64).fill('abc').join('.'))).toThrow(RangeError);
  expect(labelsOf('x'.repeat(63))).toHaveLength(64);
  const long = Uint8Array.from([...Array.from({ length: 128 }, () => [1, 97]).flat(), 0]);
  expect(long).toHaveLength(257);
  expect(endOfPlainName(long, 0)).toBeUndefined();
  expect(readName(long, 0)).toBeUndefined();
  expect(endOfPlainName(long.subarray(2), 0)).toBe(255);
});

test('a pointer leads only backwards, so reading ends', () => {
  expect(readName(Uint8Array.of(0xc0, 0), 0)).toBeUndefined();
  expect(readName(Uint8Array.of(1, 97, 0xc0, 0), 0)).toBeUndefined();
  expect(readName(Uint8Array.of(0xc0, 2, 0xc0, 0), 2)).toBeUndefined();
  expect(readName(Uint8Array.of(1, 97, 0, 1, 98, 0xc0, 0), 3)).toStrictEqual({ name: 'b.a', end: 7 });
});

test('no bytes make a reader throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat({ max: 310 }), (bytes, offset) => {
      const read = readName(bytes, offset);
      if (read !== undefined) expect(read.end).toBeLessThanOrEqual(bytes.length);
      const end = endOfPlainName(bytes, offset);
      if (end !== undefined) expect(end).toBeLessThanOrEqual(bytes.length);
    }),
  );
});
