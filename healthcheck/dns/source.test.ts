/**
 * The addresses of whoever asks, as Node writes them.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { addressBytes } from './address.ts';
import { createSourceReader, networkOf } from './source.ts';

const read = createSourceReader();

test('IPv4, IPv4 in IPv6, IPv6, and a zone index', () => {
  fc.assert(
    fc.property(fc.ipV4(), (text) => {
      expect(read(text)).toStrictEqual(addressBytes(text));
    }),
  );
  fc.assert(
    fc.property(fc.ipV6(), (text) => {
      expect(read(text).length).toBeOneOf([4, 16]);
    }),
  );
  expect(read('::ffff:192.0.2.1')).toStrictEqual(Uint8Array.of(192, 0, 2, 1));
  expect(read('fe80::1%eth0')).toStrictEqual(addressBytes('fe80::1'));
  expect(read('')).toStrictEqual(new Uint8Array(16));
});

test('a network is a /24 or a /56', () => {
  expect(networkOf(Uint8Array.of(192, 0, 2, 1))).toBe(networkOf(Uint8Array.of(192, 0, 2, 255)));
  expect(networkOf(Uint8Array.of(192, 0, 2, 1))).not.toBe(networkOf(Uint8Array.of(192, 0, 3, 1)));
});
