/**
 * Names on the wire: limits, case, compression, and what hostile pointers cannot do.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeName, endOfPlainName, isWithin, labelsOf, nameKey, readName } from './name.ts';

function key(name: string): string {
  const bytes = encodeName(name);
  return nameKey(bytes, 0, bytes.length);
}

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

test('names differ neither by case nor by where a label could be cut', () => {
  expect(key('ReLaY.Example.COM')).toBe(key('relay.example.com'));
  expect(isWithin(key('aws.relay.example.com'), key('relay.example.com'))).toBe(true);
  expect(isWithin(key('relay.example.com'), key('relay.example.com'))).toBe(true);
  expect(isWithin(key('xrelay.example.com'), key('relay.example.com'))).toBe(false);
  expect(isWithin(key('example.com'), key('relay.example.com'))).toBe(false);
  expect(isWithin(key('relay.example.com.evil'), key('relay.example.com'))).toBe(false);
});

test('a label that spells the apex is not the apex', () => {
  const bytes = Uint8Array.from([20, ...Buffer.from('x\x05relay\x07example\x03com'), 0]);
  expect(isWithin(nameKey(bytes, 0, bytes.length), key('relay.example.com'))).toBe(false);
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
