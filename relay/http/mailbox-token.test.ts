/** Mailbox tokens: what proves a mailbox, and that everything else proves nothing, whatever it is. */
import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createManualClock } from '../../test/support/manual-clock.ts';
import { createMailboxTokenVerifier } from './mailbox-token.ts';

const AUDIENCE = 'https://aws.relay.test';
const clock = createManualClock();
const verify = createMailboxTokenVerifier(AUDIENCE, clock);
const { publicKey, privateKey } = generateKeyPairSync('ed25519');
const rawKey = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
const jwk = { kty: 'OKP', crv: 'Ed25519', x: rawKey.toString('base64url') };
const nowSeconds = (): number => Math.floor(clock.wallMs() / 1000);

type Json = Readonly<Record<string, unknown>>;

function part(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function token(header: Json = {}, claims: Json = {}, key: KeyObject = privateKey): string {
  const nowS = nowSeconds();
  const signed = `${part({ alg: 'EdDSA', jwk, ...header })}.${part({ aud: AUDIENCE, exp: nowS + 60, iat: nowS, ...claims })}`;
  return `${signed}.${sign(null, Buffer.from(signed), key).toString('base64url')}`;
}

test('a token that its mailbox key signed for this site gives the key', async () => {
  expect(Buffer.from((await verify(token())) ?? [])).toEqual(rawKey);
});

test.each<[string, Json, Json]>([
  ['for another site', {}, { aud: 'https://gcp.relay.test' }],
  ['for nobody', {}, { aud: undefined }],
  ['without an end', {}, { exp: undefined }],
  ['that is over', {}, { exp: nowSeconds() - 31 }],
  ['that lasts too long', {}, { exp: nowSeconds() + 331 }],
  ['whose end is no number', {}, { exp: 'soon' }],
  ['without an algorithm', { alg: 'none' }, {}],
  ['by another algorithm', { alg: 'HS256' }, {}],
  ['without its key', { jwk: undefined }, {}],
  ['with another key', { jwk: { ...jwk, x: Buffer.alloc(32, 1).toString('base64url') } }, {}],
  ['with a key of another curve', { jwk: { ...jwk, crv: 'Ed448' } }, {}],
  ['with a private key', { jwk: { ...jwk, d: 'AAAA' } }, {}],
  ['with what must be understood and is not', { crit: ['b64'], b64: false }, {}],
])('a token %s gives nothing', async (_, header, claims) => {
  expect(await verify(token(header, claims))).toBeUndefined();
});

test.each([-29, 329])(
  'half a minute is granted to clocks: a token that ends %i s from now gives the key',
  async (seconds) => {
    expect(await verify(token({}, { exp: nowSeconds() + seconds }))).toBeDefined();
  },
);

test('a token that is signed with the public key as a secret gives nothing', async () => {
  const signed = `${part({ alg: 'HS256', jwk })}.${part({ aud: AUDIENCE, exp: nowSeconds() + 60 })}`;
  const mac = createHmac('sha256', rawKey).update(signed).digest('base64url');
  expect(await verify(`${signed}.${mac}`)).toBeUndefined();
});

test('with any one character changed it gives nothing, or was never more than a spelling of the same', async () => {
  const good = token();
  const [header = '', claims = ''] = good.split('.');
  for (let at = 0; at < good.length; at += 1) {
    const changed = `${good.slice(0, at)}${good[at] === 'A' ? 'B' : 'A'}${good.slice(at + 1)}`;
    if (changed === good) continue;
    const isSignature = at > header.length + claims.length + 1;
    const same =
      isSignature &&
      Buffer.from(changed.split('.')[2] ?? '', 'base64url').equals(
        Buffer.from(good.split('.')[2] ?? '', 'base64url'),
      );
    expect((await verify(changed)) === undefined, `character ${at}`).toBe(!same);
  }
});

test('arbitrary text gives nothing and never throws', async () => {
  const json = fc.jsonValue().map(part);
  const texts = fc.oneof(
    fc.string(),
    fc
      .array(fc.oneof(json, fc.base64String(), fc.string()), { maxLength: 5 })
      .map((parts) => parts.join('.')),
    fc
      .tuple(fc.jsonValue(), fc.jsonValue())
      .map(([value, claims]) => token({ jwk: value }, { nbf: claims, exp: claims })),
    fc
      .tuple(fc.string(), fc.jsonValue())
      .map(([name, value]) => `${part({ alg: 'EdDSA', [name]: value })}.${part({})}.AA`),
  );
  await fc.assert(
    fc.asyncProperty(texts, async (text) => {
      expect(await verify(text)).toBeUndefined();
    }),
  );
});
