/** The secrets file: read whole or refused with sentences that contain no secret. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseKeyRing } from './key-ring.ts';

const KEY = 'k'.repeat(43);
const PEPPER = 'p'.repeat(43);

function secrets(value: unknown): string {
  return JSON.stringify(value);
}

test('two keys, of which one mints, and a pepper make a ring', () => {
  const ring = parseKeyRing(
    secrets({
      capabilityKeys: [
        { id: 'AAAAAA', key: KEY },
        { id: 'BBBBBA', key: KEY, mint: true },
      ],
      pepper: PEPPER,
    }),
  );
  if (!ring.ok) throw new Error(ring.fault.join());
  expect(ring.value.minting.id).toBe('BBBBBA');
  expect([...ring.value.keys.keys()]).toEqual(['AAAAAA', 'BBBBBA']);
  expect(ring.value.pepper).toHaveLength(32);
});

test.each([
  ['no JSON', 'SECRET{', ['secrets: expected JSON']],
  [
    'nothing at all',
    '{}',
    [
      'secrets.capabilityKeys: expected a list of 1 to 16 keys',
      'secrets.pepper: expected 32 bytes as base64url',
      'secrets.capabilityKeys: expected one key with "mint": true',
    ],
  ],
  [
    'more keys than there may be',
    secrets({
      capabilityKeys: Array.from({ length: 17 }, (_, place) => ({
        id: Buffer.of(0, 0, 0, place).toString('base64url'),
        key: KEY,
        mint: place === 0,
      })),
      pepper: PEPPER,
    }),
    [
      'secrets.capabilityKeys: expected a list of 1 to 16 keys',
      'secrets.capabilityKeys: expected one key with "mint": true',
    ],
  ],
  [
    // Its last character has bits that four bytes do not have: what it seals would be of another key.
    'an id in another spelling',
    secrets({ capabilityKeys: [{ id: 'BBBBBB', key: KEY, mint: true }], pepper: PEPPER }),
    [
      'secrets.capabilityKeys[0].id: expected 4 bytes as base64url, different from the others',
      'secrets.capabilityKeys: expected one key with "mint": true',
    ],
  ],
  [
    'two keys that mint',
    secrets({
      capabilityKeys: ['AAAAAA', 'BBBBBA'].map((id) => ({ id, key: KEY, mint: true })),
      pepper: PEPPER,
    }),
    ['secrets.capabilityKeys[1].mint: only one key may mint'],
  ],
  [
    'one id twice',
    secrets({
      capabilityKeys: [
        { id: 'AAAAAA', key: KEY, mint: true },
        { id: 'AAAAAA', key: KEY },
      ],
      pepper: PEPPER,
    }),
    ['secrets.capabilityKeys[1].id: expected 4 bytes as base64url, different from the others'],
  ],
  [
    'a short key',
    secrets({ capabilityKeys: [{ id: 'AAAAAA', key: 'SECRET', mint: true }], pepper: PEPPER }),
    [
      'secrets.capabilityKeys[0].key: expected 32 bytes as base64url',
      'secrets.capabilityKeys: expected one key with "mint": true',
    ],
  ],
])('%s is refused with a sentence for each fault', (_, text, faults) => {
  expect(parseKeyRing(text)).toEqual({ ok: false, fault: faults });
});

test('a fault never repeats what was read, and nothing throws', () => {
  const secret = fc.constantFrom('SECRET', `SECRET${KEY}`, { SECRET: 1 }, ['SECRET']);
  const field = fc.oneof(secret, fc.jsonValue());
  const file = fc.oneof(
    fc.record({
      capabilityKeys: fc.oneof(field, fc.array(fc.record({ id: field, key: field, mint: field }))),
      pepper: field,
    }),
    field,
  );
  fc.assert(
    fc.property(fc.oneof(file.map(secrets), fc.string()), (text) => {
      const ring = parseKeyRing(text);
      if (!ring.ok) expect(ring.fault.join()).not.toContain('SECRET');
    }),
  );
});
