/**
 * VAPID tokens (RFC 8292), read by a JOSE library that is not ours, and keys that come from npm `web-push`.
 */
import { importJWK, jwtVerify } from 'jose';
import { describe, expect, test } from 'vitest';
import webPush from 'web-push';
import { createFakeClock } from '../test/support/fake-clock.ts';
import { fromBase64url, toBase64url } from './bytes.ts';
import { createVapidKey, createVapidSigner, importVapidKey, VAPID_SECONDS } from './vapid.ts';

const AUDIENCE = 'https://relay.example.com';
const SUBJECT = 'mailto:ops@example.com';
const NOW_SECONDS = 1_800_000_000;

/** The claims of a header, once its signature has been verified with the key that it names. */
async function claimsOf(header: string): Promise<Readonly<Record<string, unknown>>> {
  const [, token = '', k = ''] = /^vapid t=([^,]+), k=([A-Za-z0-9_-]+)$/.exec(header) ?? [];
  const point = fromBase64url(k) ?? new Uint8Array();
  expect(point).toHaveLength(65);
  const x = toBase64url(point.subarray(1, 33));
  const y = toBase64url(point.subarray(33));
  const key = await importJWK({ kty: 'EC', crv: 'P-256', x, y }, 'ES256');
  const { payload } = await jwtVerify(token, key, {
    algorithms: ['ES256'],
    currentDate: new Date(NOW_SECONDS * 1000),
  });
  return payload;
}

test('a token is for one origin and half a day, and names whom to ask', async () => {
  const key = await createVapidKey(SUBJECT);
  const claims = await claimsOf(await key.authorization(AUDIENCE, NOW_SECONDS));
  expect(claims).toEqual({ aud: AUDIENCE, exp: NOW_SECONDS + VAPID_SECONDS, sub: SUBJECT });
  expect(VAPID_SECONDS).toBeLessThanOrEqual(24 * 3600);
});

test('a token names nobody unless it is told to', async () => {
  const key = await createVapidKey();
  expect(await claimsOf(await key.authorization(AUDIENCE, NOW_SECONDS))).not.toHaveProperty('sub');
});

describe('a key', () => {
  test('that was kept is the same key', async () => {
    const key = await createVapidKey();
    const again = await importVapidKey(await key.export());
    expect(again.publicKey).toBe(key.publicKey);
    await claimsOf(await again.authorization(AUDIENCE, NOW_SECONDS));
  });

  test('of npm web-push is taken as it is', async () => {
    const theirs = webPush.generateVAPIDKeys();
    const key = await importVapidKey(theirs);
    expect(await key.export()).toEqual(theirs);
    await claimsOf(await key.authorization(AUDIENCE, NOW_SECONDS));
  });

  test.each([
    ['a public key that is cut off', { publicKey: 'BAAA' }],
    ['a point off the curve', { publicKey: toBase64url(new Uint8Array(65).fill(4)) }],
    ['a private key that is cut off', { privateKey: 'AAAA' }],
  ])('with %s is refused', async (_what, damage) => {
    const whole = await (await createVapidKey()).export();
    await expect(importVapidKey({ ...whole, ...damage })).rejects.toMatchObject({
      fault: 'vapid_key_malformed',
    });
  });

  test('is not made for a subject that nobody could write to', async () => {
    await expect(createVapidKey('ops@example.com')).rejects.toMatchObject({
      fault: 'vapid_subject_malformed',
    });
  });
});

test('a signer remembers so many origins, and forgets the one that was asked for the longest ago', async () => {
  const sign = createVapidSigner(await createVapidKey(), createFakeClock());
  const first = await sign('https://0.example.com');
  for (let place = 1; place < 64; place += 1) await sign(`https://${place}.example.com`);
  expect(await sign('https://0.example.com')).toBe(first);
  await sign('https://64.example.com');
  expect(await sign('https://0.example.com')).not.toBe(first);
});

test('a signer shows the same token for half of its time, and another to another origin', async () => {
  const clock = createFakeClock();
  const sign = createVapidSigner(await createVapidKey(), clock);
  const first = await sign(AUDIENCE);
  await clock.advance((VAPID_SECONDS / 2) * 1000 - 1);
  expect(await sign(AUDIENCE)).toBe(first);
  expect(await sign('https://push.example.com')).not.toBe(first);
  await clock.advance(1000);
  expect(await sign(AUDIENCE)).not.toBe(first);
});
