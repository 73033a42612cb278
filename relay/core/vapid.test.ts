/** Who may use a push URL that was made for one sender (RFC 8292), and who may not. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createVapidSender } from '../../test/support/vapid-sender.ts';
import { checkClaim, isSigned, parsePublicKey, parseVapid, vapidKeyHashOf } from './vapid.ts';

const NOW_SECONDS = 1_800_000_000;
const DAY_SECONDS = 24 * 3600;
const sender = createVapidSender();
const k = sender.publicKey.toString('base64url');
const audiences = ['https://relay.test', 'https://aws.relay.test:8443'];
const CLAIMS = { aud: 'https://relay.test', exp: NOW_SECONDS + 3600, sub: 'mailto:ops@sender.test' };

/** What a relay says to a header; `accepted` when nothing is wrong. */
function answerTo(authorization: string | undefined): string {
  const claim = parseVapid(authorization);
  if (!claim.ok) return claim.fault;
  const keyHash = vapidKeyHashOf(sender.publicKey);
  const fault = checkClaim(claim.value, { keyHash, audiences, nowSeconds: NOW_SECONDS });
  return fault ?? (isSigned(claim.value) ? 'accepted' : 'vapid_signature_wrong');
}

describe('a header', () => {
  const t = sender.token(CLAIMS);
  test.each([
    ['as libraries write it', `vapid t=${t}, k=${k}`],
    ['in another order, without blanks', `vapid k=${k},t=${t}`],
    ['with quotes and padding', `Vapid  t="${t}" , k="${k}="`],
    ['with a parameter that nobody knows', `vapid t=${t}, k=${k}, v=2`],
  ])('%s is understood', (_, header) => {
    expect(answerTo(header)).toBe('accepted');
  });

  test.each([
    ['no header', undefined, 'vapid_missing'],
    ['the older scheme', `WebPush ${t}`, 'vapid_missing'],
    ['another scheme', 'Bearer secret', 'vapid_missing'],
    ['nothing behind the scheme', 'vapid ', 'vapid_malformed'],
    ['no key', `vapid t=${t}`, 'vapid_malformed'],
    ['no token', `vapid k=${k}`, 'vapid_malformed'],
    ['two tokens', `vapid t=${t}, t=${t}, k=${k}`, 'vapid_malformed'],
    ['two keys that differ in case', `vapid t=${t}, k=${k}, K=${k}`, 'vapid_malformed'],
    [
      'a key that is no point',
      `vapid t=${t}, k=${Buffer.alloc(65, 4).toString('base64url')}`,
      'vapid_malformed',
    ],
    ['a token of four parts', `vapid t=${t}.x, k=${k}`, 'vapid_malformed'],
    [
      'a token without a signature',
      `vapid t=${t.slice(0, t.lastIndexOf('.') + 1)}, k=${k}`,
      'vapid_malformed',
    ],
    ['more than anybody needs', `vapid t=${t}, k=${k}, x=${'x'.repeat(4096)}`, 'vapid_malformed'],
  ])('%s: %#', (_, header, fault) => {
    expect(answerTo(header)).toBe(fault);
  });
});

describe('a token', () => {
  test.each<[string, object, string]>([
    ["for a site's origin", { aud: 'https://aws.relay.test:8443' }, 'accepted'],
    [
      'for several origins, ours among them',
      { aud: ['https://other.test', 'https://relay.test'] },
      'accepted',
    ],
    ['for the origin with its port and a slash', { aud: 'https://relay.test:443/' }, 'accepted'],
    ['for another origin', { aud: 'https://other.test' }, 'vapid_audience_wrong'],
    ['for a name that ours begins', { aud: 'https://relay.test.evil.test' }, 'vapid_audience_wrong'],
    ['for the origin in clear', { aud: 'http://relay.test' }, 'vapid_audience_wrong'],
    ['for nobody', { aud: undefined }, 'vapid_audience_wrong'],
    ['for no address', { aud: 'relay.test' }, 'vapid_audience_wrong'],
    ['that expires in a day', { exp: NOW_SECONDS + DAY_SECONDS }, 'accepted'],
    ['of a sender whose clock is a minute fast', { exp: NOW_SECONDS + DAY_SECONDS + 60 }, 'accepted'],
    ['that expires later', { exp: NOW_SECONDS + DAY_SECONDS + 61 }, 'vapid_expired'],
    ['that expired within the tolerance', { exp: NOW_SECONDS - 59 }, 'accepted'],
    ['that expired', { exp: NOW_SECONDS - 60 }, 'vapid_expired'],
    ['without an end', { exp: undefined }, 'vapid_malformed'],
    ['whose end is text', { exp: String(CLAIMS.exp) }, 'vapid_malformed'],
  ])('%s', (_, claims, answer) => {
    expect(answerTo(sender.header({ ...CLAIMS, ...claims }))).toBe(answer);
  });

  test.each(['none', 'HS256', 'ES384', undefined])('of the algorithm %s is malformed', (alg) => {
    expect(answerTo(`vapid t=${sender.token(CLAIMS, { alg })}, k=${k}`)).toBe('vapid_malformed');
  });

  test("with another sender's key, or signed by another sender, is refused", () => {
    const other = createVapidSender();
    expect(answerTo(other.header(CLAIMS))).toBe('vapid_key_wrong');
    expect(answerTo(`vapid t=${other.token(CLAIMS)}, k=${k}`)).toBe('vapid_signature_wrong');
  });

  test('with any one character changed is refused', () => {
    const t = sender.token(CLAIMS);
    for (let at = 0; at < t.length; at += 1) {
      const changed = t.slice(0, at) + (t[at] === 'A' ? 'B' : 'A') + t.slice(at + 1);
      expect(answerTo(`vapid t=${changed}, k=${k}`)).not.toBe('accepted');
    }
  });
});

test('a public key is a point of P-256 in its only spelling', () => {
  expect(parsePublicKey(k)).toEqual(sender.publicKey);
  expect(parsePublicKey(`${k}=`)).toEqual(sender.publicKey);
  for (const text of [
    '',
    'x',
    k.slice(1),
    `${k}A`,
    Buffer.alloc(65, 1).toString('base64url'),
    `+${k.slice(1)}`,
  ]) {
    expect(parsePublicKey(text)).toBeUndefined();
  }
});

test('arbitrary headers are never accepted and never throw', () => {
  const json = fc.json().map((text) => Buffer.from(text).toString('base64url'));
  const parts = fc.array(fc.oneof(json, fc.base64String(), fc.string()), { maxLength: 4 });
  const headers = fc.oneof(
    fc.string(),
    fc.tuple(parts, fc.option(fc.string(), { nil: k })).map(([t, key]) => `vapid t=${t.join('.')}, k=${key}`),
  );
  fc.assert(
    fc.property(headers, (header) => {
      expect(answerTo(header)).not.toBe('accepted');
    }),
  );
});
