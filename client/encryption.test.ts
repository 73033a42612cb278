/**
 * Web Push encryption against the test vector of RFC 8291, its limits, and hostile bodies.
 */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import vector from '../test/vectors/rfc8291.json' with { type: 'json' };
import { type Bytes, fromBase64url, toBase64url } from './bytes.ts';
import { bucketBytes, decrypt, encrypt, encryptWith, plaintextBytesMax } from './encryption.ts';
import { DecryptionError, UsageError } from './errors.ts';
import { createMailbox } from './mailbox.ts';
import { webRandom } from './web-clock.ts';

const options = { random: webRandom, bodyBytesMax: 4096, padding: 'none' } as const;

function bytes(text: string): Bytes {
  const decoded = fromBase64url(text);
  if (decoded === undefined) throw new Error('not base64url');
  return decoded;
}

async function importPair(pair: {
  privateKey: string;
  publicKey: string;
}): Promise<{ privateKey: CryptoKey; publicKey: CryptoKey }> {
  const point = bytes(pair.publicKey);
  const jwk = {
    kty: 'EC',
    crv: 'P-256',
    x: toBase64url(point.slice(1, 33)),
    y: toBase64url(point.slice(33)),
  };
  const algorithm = { name: 'ECDH', namedCurve: 'P-256' };
  return {
    privateKey: await crypto.subtle.importKey('jwk', { ...jwk, d: pair.privateKey }, algorithm, true, [
      'deriveBits',
    ]),
    publicKey: await crypto.subtle.importKey('jwk', jwk, algorithm, true, []),
  };
}

describe('the vector of RFC 8291', () => {
  test('is encrypted byte for byte', async () => {
    const recipient = { p256dh: vector.recipient.publicKey, auth: vector.auth };
    const sender = await importPair(vector.sender);
    const body = await encryptWith(bytes(vector.plaintext), recipient, sender, bytes(vector.salt), options);
    expect(toBase64url(body)).toBe(vector.body);
  });

  test('is decrypted', async () => {
    const { privateKey } = await importPair(vector.recipient);
    const keys = { privateKey, point: bytes(vector.recipient.publicKey), auth: bytes(vector.auth) };
    expect(toBase64url(await decrypt(bytes(vector.body), keys))).toBe(vector.plaintext);
  });
});

describe('a message', () => {
  test('can be read by its recipient and by nobody else', async () => {
    const [ours, theirs] = await Promise.all([createMailbox(webRandom), createMailbox(webRandom)]);
    const { body, coding } = await encrypt(new TextEncoder().encode('hello'), ours.keys, options);
    expect(coding).toBe('aes128gcm');
    expect(new TextDecoder().decode(await ours.decrypt(body))).toBe('hello');
    await expect(theirs.decrypt(body)).rejects.toThrow(DecryptionError);
  });

  test('that was changed in any byte is refused', async () => {
    const mailbox = await createMailbox(webRandom);
    const { body } = await encrypt(new Uint8Array(10), mailbox.keys, options);
    for (let at = 0; at < body.length; at += 1) {
      // A larger record size reads the same single record; every other byte matters.
      if (at >= 16 && at < 20) continue;
      const changed = new Uint8Array(body);
      changed[at] = (changed[at] ?? 0) ^ 0x80;
      await expect(mailbox.decrypt(changed)).rejects.toThrow(DecryptionError);
    }
  });

  test('of arbitrary bytes is refused with a DecryptionError and nothing else', async () => {
    const mailbox = await createMailbox(webRandom);
    const { body } = await encrypt(new Uint8Array(10), mailbox.keys, options);
    const hostile = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      // A true header with rubbish behind it.
      fc.uint8Array({ maxLength: 200 }).map((tail) => Uint8Array.of(...body.subarray(0, 86), ...tail)),
    );
    await fc.assert(
      fc.asyncProperty(hostile, async (given) => {
        await expect(mailbox.decrypt(given)).rejects.toThrow(DecryptionError);
      }),
    );
  });

  test('of any length comes back as it was, in a body of a bucket', async () => {
    const mailbox = await createMailbox(webRandom);
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 3000, size: 'max' }), async (plaintext) => {
        const padded = { ...options, bodyBytesMax: 65_536, padding: 'buckets' } as const;
        const { body } = await encrypt(plaintext, mailbox.keys, padded);
        expect([512, 1024, 2048, 4096]).toContain(body.length);
        expect(await mailbox.decrypt(body)).toEqual(new Uint8Array(plaintext));
      }),
      { numRuns: 30 },
    );
  });
});

describe('limits', () => {
  test('3993 bytes fill a body of 4096', async () => {
    expect(plaintextBytesMax(4096)).toBe(3993);
    const { keys } = await createMailbox(webRandom);
    expect((await encrypt(new Uint8Array(3993), keys, options)).body).toHaveLength(4096);
    await expect(encrypt(new Uint8Array(3994), keys, options)).rejects.toThrow(
      new UsageError('plaintext_too_large'),
    );
  });

  test('a relay that takes more gets a single larger record', async () => {
    const mailbox = await createMailbox(webRandom);
    const large = { ...options, bodyBytesMax: 65_536 };
    const plaintext = new Uint8Array(plaintextBytesMax(65_536)).fill(9);
    const { body } = await encrypt(plaintext, mailbox.keys, large);
    expect(body).toHaveLength(65_536);
    expect(new DataView(body.buffer, body.byteOffset).getUint32(16)).toBe(65_536 - 86 + 1);
    expect(await mailbox.decrypt(body)).toEqual(plaintext);
  });

  test('a bucket always holds its message and never exceeds the limit', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 600, max: 100_000 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (max, part) => {
          const plaintextBytes = Math.floor(plaintextBytesMax(max) * part);
          const bucket = bucketBytes(plaintextBytes, max);
          expect(plaintextBytesMax(bucket)).toBeGreaterThanOrEqual(plaintextBytes);
          expect(bucket).toBeLessThanOrEqual(max);
        },
      ),
    );
  });

  test.each([
    ['no key', { p256dh: '', auth: 'BTBZMqHH6r4Tts7J_aSIgg' }],
    [
      'a point off the curve',
      { p256dh: toBase64url(new Uint8Array(65).fill(4)), auth: 'BTBZMqHH6r4Tts7J_aSIgg' },
    ],
    ['a short secret', { p256dh: vector.recipient.publicKey, auth: 'BTBZMqHH6r4' }],
  ])('%s is refused before anything is sent', async (_name, keys) => {
    await expect(encrypt(new Uint8Array(1), keys, options)).rejects.toThrow(
      new UsageError('recipient_keys_malformed'),
    );
  });
});
