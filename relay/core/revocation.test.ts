/** Revocations: what is read out of a request, and that arbitrary text is none. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseRevocation } from './revocation.ts';

const bytes = (length: number): fc.Arbitrary<string> =>
  fc
    .uint8Array({ minLength: length, maxLength: length })
    .map((given) => Buffer.from(given).toString('base64url'));

test('a claim is read as it was written', () => {
  fc.assert(
    fc.property(fc.string(), bytes(32), bytes(64), (capability, key, signature) => {
      const claim = parseRevocation(JSON.stringify({ capability, key, signature }));
      expect(claim?.capabilityText).toBe(capability);
      expect(Buffer.from(claim?.publicKey ?? []).toString('base64url')).toBe(key);
      expect(Buffer.from(claim?.signature ?? []).toString('base64url')).toBe(signature);
    }),
  );
});

test('with a key or a signature of another length it is none', () => {
  const lengths = fc
    .tuple(fc.nat(80), fc.nat(80))
    .filter(([key, signature]) => key !== 32 || signature !== 64);
  fc.assert(
    fc.property(lengths, ([key, signature]) => {
      const [one, other] = [key, signature].map((length) => Buffer.alloc(length).toString('base64url'));
      expect(
        parseRevocation(JSON.stringify({ capability: 'x', key: one, signature: other })),
      ).toBeUndefined();
    }),
  );
});

test('arbitrary text and arbitrary JSON are none, and never throw', () => {
  const fields = fc.record({ capability: fc.jsonValue(), key: fc.jsonValue(), signature: fc.jsonValue() });
  const texts = fc.oneof(
    fc.string(),
    fc.json(),
    fields.map((given) => JSON.stringify(given)),
  );
  fc.assert(
    fc.property(texts, (text) => {
      expect(parseRevocation(text)).toBeUndefined();
    }),
  );
});
