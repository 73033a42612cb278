/** What has the shape of ciphertext, and what has not. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ciphertext } from '../../test/support/ciphertext.ts';
import { isPlausible, MLS, NOTHING } from './ciphertext.ts';

function sealed(recordSize: number, keyIdBytes: number, recordsBytes: number): Buffer {
  const body = Buffer.alloc(21 + keyIdBytes + recordsBytes, 0xfe);
  body.writeUInt32BE(recordSize, 16);
  body.writeUInt8(keyIdBytes, 20);
  return body;
}

describe('aes128gcm', () => {
  test.each<[string, Buffer, boolean]>([
    ['a record of nothing but delimiter and tag', sealed(4096, 65, 17), true],
    ['the smallest record size', sealed(18, 0, 18), true],
    ['several records, the last one shorter', sealed(25, 0, 42), true],
    ['several records of full size', sealed(25, 255, 50), true],
    ['the largest record size', sealed(0xffff_ffff, 0, 17), true],
    ['nothing', Buffer.alloc(0), false],
    ['a header alone', sealed(4096, 65, 0), false],
    ['a record that is too short', sealed(4096, 65, 16), false],
    ['a record size below the standard', sealed(17, 0, 34), false],
    ['a last record that was cut off', sealed(25, 0, 41), false],
    ['a key id that is longer than the body', sealed(4096, 100, 17).subarray(0, 100), false],
    [
      'text',
      Buffer.from('Dear all, this is the text that I did not mean to send in clear.'.repeat(4)),
      false,
    ],
    ['JSON beyond ASCII', Buffer.from(JSON.stringify({ greeting: 'Grüße, 你好'.repeat(20) })), false],
  ])('%s: %#', (_, body, expected) => {
    expect(isPlausible('aes128gcm', body)).toBe(expected);
  });

  test('the example of RFC 8291 §5', () => {
    const body =
      'DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6Tlz' +
      'AC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN';
    expect(isPlausible('aes128gcm', Buffer.from(body, 'base64url'))).toBe(true);
  });

  test('text is refused, whatever it says', () => {
    const texts = fc.string({ unit: 'grapheme', minLength: 60, maxLength: 600 });
    fc.assert(
      fc.property(texts, (text) => {
        fc.pre(!/\p{Cc}/u.test(text));
        expect(isPlausible('aes128gcm', Buffer.from(text))).toBe(false);
      }),
    );
  });

  test('random bytes behind a header are taken, at any length', () => {
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: 38, max: 5000 }), (name, length) => {
        expect(isPlausible('aes128gcm', ciphertext(name, length))).toBe(true);
      }),
    );
  });
});

test.each<[string, Buffer, boolean]>([
  ['a private message of MLS 1.0', Buffer.from([0, 1, 0, 2, 9, 9]), true],
  ['a later wire format', Buffer.from([0, 1, 0xf0, 0, 9]), true],
  ['a reserved wire format', Buffer.from([0, 1, 0, 0, 9]), false],
  ['another version', Buffer.from([0, 2, 0, 2, 9]), false],
  ['text', Buffer.from('hello'), false],
  ['nothing', Buffer.alloc(0), false],
])('message/mls: %s', (_, body, expected) => {
  expect(isPlausible(MLS, body)).toBe(expected);
});

test('a body of which nothing is said has to be empty', () => {
  expect(isPlausible(NOTHING, Buffer.alloc(0))).toBe(true);
  expect(isPlausible(NOTHING, Buffer.alloc(1))).toBe(false);
});

test('a type that the operator allows is taken at its word', () => {
  expect(isPlausible('application/octet-stream', Buffer.alloc(9))).toBe(true);
  expect(isPlausible('application/pgp-encrypted', Buffer.from('-----BEGIN PGP MESSAGE-----'))).toBe(true);
});

test('arbitrary bytes never throw', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('aes128gcm', MLS, NOTHING),
      fc.uint8Array({ maxLength: 80 }),
      (coding, body) => {
        expect(typeof isPlausible(coding, body)).toBe('boolean');
      },
    ),
  );
});
