/**
 * The content coding against the examples of its RFC, and against tampering.
 */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import vectors from '../test/vectors/rfc8188.json' with { type: 'json' };
import { open, overheadBytes, parseBody, seal } from './aes128gcm.ts';
import { type Bytes, fromBase64url, toBase64url } from './bytes.ts';
import { DecryptionError } from './errors.ts';

function bytes(text: string): Bytes {
  const decoded = fromBase64url(text);
  if (decoded === undefined) throw new Error('not base64url');
  return decoded;
}

function part(bytesMax: number): fc.Arbitrary<Bytes> {
  return fc.uint8Array({ maxLength: bytesMax }).map((array) => new Uint8Array(array));
}

describe.each(vectors)('$source', (vector) => {
  test('opens', async () => {
    const sealed = parseBody(bytes(vector.body));
    expect(sealed.recordSize).toBe(vector.recordSize);
    expect(toBase64url(sealed.keyId)).toBe(vector.keyId);
    expect(toBase64url(await open(sealed, bytes(vector.inputKey)))).toBe(vector.plaintext);
  });

  test('does not open when any bit is another one', async () => {
    const body = bytes(vector.body);
    for (let at = 0; at < body.length; at += 1) {
      const changed = body.slice();
      changed[at] = (changed[at] ?? 0) ^ 1;
      const opened = Promise.resolve().then(() => open(parseBody(changed), bytes(vector.inputKey)));
      // A key id is not authenticated here, and a larger record size reads the same single record.
      const isHarmless =
        (at >= 21 && at < 21 + bytes(vector.keyId).length) ||
        (vector.recordSize === 4096 && at >= 16 && at < 20);
      if (!isHarmless) await expect(opened).rejects.toThrow(DecryptionError);
      else await opened.catch(() => undefined);
    }
  });

  test('does not open when it is cut off anywhere', async () => {
    const body = bytes(vector.body);
    for (let length = 0; length < body.length; length += 1) {
      const opened = Promise.resolve().then(() =>
        open(parseBody(body.slice(0, length)), bytes(vector.inputKey)),
      );
      await expect(opened).rejects.toThrow(DecryptionError);
    }
  });
});

test('the first example is sealed byte for byte', async () => {
  const [vector] = vectors;
  if (vector === undefined) throw new Error('no vector');
  const body = bytes(vector.body);
  const { inputKey, keyId, recordSize } = {
    ...vector,
    inputKey: bytes(vector.inputKey),
    keyId: bytes(vector.keyId),
  };
  const sealing = { inputKey, keyId, recordSize, salt: body.slice(0, 16), paddingBytes: 0 };
  expect(toBase64url(await seal(bytes(vector.plaintext), sealing))).toBe(vector.body);
});

test('whatever is sealed opens again, with exactly the overhead that was announced', async () => {
  await fc.assert(
    fc.asyncProperty(part(300), part(255), fc.nat(300), async (plaintext, keyId, paddingBytes) => {
      const inputKey = new Uint8Array(16).fill(3);
      const salt = new Uint8Array(16).fill(5);
      const body = await seal(plaintext, { inputKey, salt, keyId, recordSize: 4096, paddingBytes });
      expect(body.length).toBe(plaintext.length + paddingBytes + overheadBytes(keyId.length));
      expect(await open(parseBody(body), inputKey)).toEqual(plaintext);
    }),
    { numRuns: 50 },
  );
});

test('a body of padding alone is badly padded, not an empty message', async () => {
  const key = await crypto.subtle.importKey('raw', new Uint8Array(16), 'HKDF', false, ['deriveBits']);
  const salt = new Uint8Array(16);
  const derive = async (info: string, bits: number): Promise<ArrayBuffer> =>
    crypto.subtle.deriveBits(
      { name: 'HKDF', hash: 'SHA-256', salt, info: new TextEncoder().encode(`Content-Encoding: ${info}\0`) },
      key,
      bits,
    );
  const cipher = await crypto.subtle.importKey('raw', await derive('aes128gcm', 128), 'AES-GCM', false, [
    'encrypt',
  ]);
  const iv = await derive('nonce', 96);
  const records = new Uint8Array(
    await crypto.subtle.encrypt({ name: 'AES-GCM', iv }, cipher, new Uint8Array(9)),
  );
  const opened = open({ salt, recordSize: 4096, keyId: new Uint8Array(), records }, new Uint8Array(16));
  await expect(opened).rejects.toThrow(new DecryptionError('badly_padded'));
});
