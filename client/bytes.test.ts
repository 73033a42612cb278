/**
 * base64url, held against Node's.
 */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { fromBase64url, toBase64url } from './bytes.ts';

test('bytes become the same text as with Node, and come back', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 9000, size: 'max' }), (given) => {
      const text = toBase64url(given);
      expect(text).toBe(Buffer.from(given).toString('base64url'));
      expect(fromBase64url(text)).toEqual(new Uint8Array(given));
    }),
  );
});

test('a text has one reading or none', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const decoded = fromBase64url(text);
      if (decoded !== undefined) expect(toBase64url(decoded)).toBe(text);
    }),
  );
});

test.each(['A', 'AB', 'AAB', 'AA==', 'A+AA', 'A/AA', 'AA A', 'AAAA\n'])('%j is not base64url', (text) => {
  expect(fromBase64url(text)).toBeUndefined();
});
