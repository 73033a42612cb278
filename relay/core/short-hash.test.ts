/** Hashes as names are the hashes that they are said to be. */
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { shortHash, shortHashBytes } from './short-hash.ts';

test('a name is the first 16 bytes of SHA-256', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const digest = createHash('sha256').update(bytes).digest().subarray(0, 16);
      expect(shortHash(bytes)).toBe(digest.toString('base64url'));
      expect(shortHashBytes(bytes)).toBe(digest.toString('latin1'));
    }),
  );
});
