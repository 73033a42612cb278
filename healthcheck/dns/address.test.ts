/**
 * Addresses as text and as bytes, against Node's own reading of them.
 */
import { SocketAddress } from 'node:net';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { addressBytes, addressText } from './address.ts';

test('bytes become text and the same bytes again', () => {
  const anyBytes = fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
    fc
      .array(fc.constantFrom(0, 0, 0, 1), { minLength: 16, maxLength: 16 })
      .map((bytes) => Uint8Array.from(bytes)),
  );
  fc.assert(
    fc.property(anyBytes, (bytes) => {
      const text = addressText(bytes);
      expect(text === undefined ? undefined : addressBytes(text)).toStrictEqual(bytes);
    }),
  );
});

test('IPv6 text is written as RFC 5952 asks', () => {
  for (const text of ['::', '::1', '2001:db8::1', '2001:db8:0:1:1:1:1:1', '2001:0:0:1::1', 'fe80::']) {
    const bytes = addressBytes(text);
    expect(bytes === undefined ? undefined : addressText(bytes)).toBe(
      new SocketAddress({ address: text, family: 'ipv6' }).address,
    );
  }
});

test('an embedded IPv4 address is read, a zone index and nonsense are not', () => {
  expect(addressBytes('::ffff:192.0.2.1')).toStrictEqual(
    Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 1),
  );
  for (const text of ['fe80::1%eth0', '', '1.2.3', 'relay.example.com', '::g']) {
    expect(addressBytes(text)).toBeUndefined();
  }
  expect(addressText(new Uint8Array(5))).toBeUndefined();
});
