/**
 * Zone keys and signatures, against the example of RFC 6605 §6.1, and what a manifest's key set must be.
 */
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { expect, test } from 'vitest';
import type { ZoneKeySet } from '../../fleet/manifest/manifest.ts';
import { makeZoneKey } from '../../fleet/zone-keys.ts';
import { TYPE } from './message.ts';
import { verifiesSet } from './signature.ts';
import {
  dsRecords,
  keyTagOf,
  publicKeyText,
  signZoneKeys,
  zoneKeyFaults,
  zoneKeyRecords,
  zoneKeysExpireSeconds,
} from './zone-keys.ts';

const bytes = (text: string): Buffer => Buffer.from(text, 'base64');
const RFC_POINT = bytes(
  'GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==',
);
const RFC_KEY = { site: null, publicKey: RFC_POINT.toString('base64url') };

test('the key tag and the DS of RFC 6605 §6.1', () => {
  expect(keyTagOf(RFC_KEY)).toBe(55_648);
  expect(dsRecords('example.net', { keys: [RFC_KEY, { ...RFC_KEY, site: 'aws' }] })).toStrictEqual([
    'example.net. IN DS 55648 13 2 B4C8C1FE2E7477127B27115656AD6256F424625BF5C1E2770CE6D6E37DF61D17',
  ]);
});

test('the signature of RFC 6605 §6.1 holds over the bytes that we sign', () => {
  const key = createPublicKey({
    key: {
      kty: 'EC',
      crv: 'P-256',
      x: RFC_POINT.subarray(0, 32).toString('base64url'),
      y: RFC_POINT.subarray(32).toString('base64url'),
    },
    format: 'jwk',
  });
  const set = {
    owner: 'www.example.net',
    type: TYPE.A,
    ttlSeconds: 3600,
    data: [Uint8Array.of(192, 0, 2, 1)],
  };
  const terms = {
    signer: 'example.net',
    keyTag: 55_648,
    inceptionSeconds: Date.UTC(2010, 7, 12, 10, 4, 39) / 1000,
    expirationSeconds: Date.UTC(2010, 8, 9, 10, 4, 39) / 1000,
  };
  const signature = bytes(
    'qx6wLYqmh+l9oCKTN6qIc+bw6ya+KJ8oMz0YP107epXAyGmt+3SNruPFKG7tZoLBLlUzGGus7ZwmwWep666VCw==',
  );
  expect(verifiesSet(set, terms, signature, key)).toBe(true);
  expect(verifiesSet({ ...set, ttlSeconds: 3601 }, terms, signature, key)).toBe(false);
});

const operators = makeZoneKey();
const site = { site: 'aws', publicKey: publicKeyText(makeZoneKey()) ?? '' };

function signed(over: Partial<Parameters<typeof signZoneKeys>[0]> = {}): ZoneKeySet {
  return signZoneKeys({
    zone: 'relay.example.com',
    ttlSeconds: 3600,
    siteKeys: [site],
    operatorKeys: [operators],
    inceptionSeconds: 1000,
    expirationSeconds: 2000,
    ...over,
  });
}

function faults(zoneKeys: ZoneKeySet): readonly string[] {
  return zoneKeyFaults({ zone: 'relay.example.com', zoneKeys });
}

test('a signed key set holds, with one key of the operators or with two', () => {
  expect(faults(signed())).toStrictEqual([]);
  const both = signed({ operatorKeys: [operators, makeZoneKey()] });
  expect(faults(both)).toStrictEqual([]);
  expect(both.signatures).toHaveLength(2);
  expect(zoneKeyRecords('relay.example.com', both).data).toHaveLength(3);
  expect(zoneKeysExpireSeconds(both)).toBe(2000);
  expect(zoneKeyFaults({ zone: 'relay.example.com' })).toStrictEqual([]);
});

test('a key that was added, taken out or changed after signing breaks the set', () => {
  const set = signed();
  const other = { site: 'gcp', publicKey: publicKeyText(makeZoneKey()) ?? '' };
  expect(faults({ ...set, keys: [...set.keys, other] })[0]).toContain('does not hold');
  expect(faults({ ...set, keys: [other, ...set.keys.slice(0, 1)] })[0]).toContain('does not hold');
  expect(faults({ ...set, ttlSeconds: 60 })[0]).toContain('does not hold');
  const expirationSeconds = 3000;
  const longer = set.signatures.map((one) => ({ ...one, expirationSeconds }));
  expect(faults({ ...set, signatures: longer })[0]).toContain('does not hold');
});

test('a key that is no point of the curve is a fault like any other', () => {
  const set = signed();
  const keys = set.keys.map((key) => (key.site === null ? { ...key, publicKey: 'A'.repeat(86) } : key));
  const [operatorsKey] = keys;
  const signatures = set.signatures.map((one) => ({
    ...one,
    keyTag: keyTagOf(operatorsKey ?? expect.unreachable()),
  }));
  expect(faults({ ...set, keys, signatures })[0]).toContain('does not hold');
});

test("a signature under a site's key, and a set without one, are told by name", () => {
  const set = signed();
  const [first] = set.signatures;
  const bySite = set.signatures.map((one) => ({ ...one, keyTag: keyTagOf(site) }));
  expect(first && faults({ ...set, signatures: bySite })).toStrictEqual([
    `manifest.zoneKeys: no operators' key has the key tag ${keyTagOf(site)}`,
  ]);
  expect(faults(signed({ siteKeys: [] }))).toContain('manifest.zoneKeys: no site has a key');
});

test('only EC keys on P-256 are zone keys', () => {
  expect(publicKeyText(generateKeyPairSync('ed25519').privateKey)).toBeUndefined();
  expect(publicKeyText(generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey)).toBeUndefined();
  expect(() => signed({ operatorKeys: [generateKeyPairSync('ed25519').privateKey] })).toThrow(TypeError);
});
