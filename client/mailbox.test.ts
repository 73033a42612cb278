/**
 * Mailboxes: their names, tokens and acks, verified by means other than the client's own.
 */
import { createPublicKey, verify } from 'node:crypto';
import { EmbeddedJWK, jwtVerify } from 'jose';
import { expect, test } from 'vitest';
import frames from '../test/vectors/frames.json' with { type: 'json' };
import vector from '../test/vectors/mailbox.json' with { type: 'json' };
import { concat, fromBase64url, toBase64url } from './bytes.ts';
import { UsageError } from './errors.ts';
import { createMailbox, importMailbox, type Mailbox, type MailboxExport } from './mailbox.ts';
import { webRandom } from './web-clock.ts';

async function vectorMailbox(): Promise<Mailbox> {
  const exported = await (await createMailbox(webRandom)).export();
  const { d, x } = vector.mailboxKey;
  return importMailbox({ ...exported, signing: { kty: 'OKP', crv: 'Ed25519', d, x } });
}

test('the id of a mailbox is the hash of its public key', async () => {
  expect((await vectorMailbox()).id).toBe(vector.mailboxId);
});

test('a token is the one of the vector, and jose verifies it', async () => {
  const { audience, issuedAtSeconds, jws } = vector.token;
  const token = await (await vectorMailbox()).token(audience, issuedAtSeconds);
  expect(token).toBe(jws);
  const currentDate = new Date((issuedAtSeconds + 1) * 1000);
  const { payload } = await jwtVerify(token, EmbeddedJWK, { algorithms: ['EdDSA'], audience, currentDate });
  expect(payload.exp).toBe(vector.token.expiresAtSeconds);
});

test.each(frames.acks)('an ack is signed as in the vector: $name', async ({ ids, signature }) => {
  const idBytes = concat(...ids.map((id) => fromBase64url(id) ?? new Uint8Array()));
  const signed = await (await vectorMailbox()).signAck(idBytes);
  expect(toBase64url(signed)).toBe(signature);
  const { crv, kty, x } = frames.mailboxKey;
  const key = createPublicKey({ key: { crv, kty, x }, format: 'jwk' });
  expect(verify(null, concat(new TextEncoder().encode('archipelago ack v1\n'), idBytes), key, signed)).toBe(
    true,
  );
});

test('an exported mailbox comes back from JSON as the same mailbox', async () => {
  const mailbox = await createMailbox(webRandom);
  const json = JSON.stringify(await mailbox.export());
  const back = await importMailbox(JSON.parse(json) as MailboxExport);
  expect(back.id).toBe(mailbox.id);
  expect(back.keys).toEqual(mailbox.keys);
  expect(await back.token('https://x', 1)).toBe(await mailbox.token('https://x', 1));
  expect(JSON.stringify(await back.export())).toBe(json);
});

test('two mailboxes have nothing in common', async () => {
  const [one, other] = await Promise.all([createMailbox(webRandom), createMailbox(webRandom)]);
  expect(one.id).not.toBe(other.id);
  expect(one.keys.p256dh).not.toBe(other.keys.p256dh);
  expect(one.keys.auth).not.toBe(other.keys.auth);
});

test.each([
  ['a public key that is cut off', { signing: { x: 'AAAA' } }],
  ['a private key that is none', { signing: { d: 'AAAA' } }],
  ['another private key than the public one', { encryption: { d: toBase64url(new Uint8Array(32).fill(1)) } }],
  ['a point off the curve', { encryption: { y: toBase64url(new Uint8Array(32).fill(1)) } }],
  ['no secret', { auth: '' }],
])('an export with %s is refused', async (_name, damage) => {
  const exported = await (await createMailbox(webRandom)).export();
  const { auth, encryption, signing } = damage as Partial<MailboxExport>;
  const damaged = {
    format: exported.format,
    auth: auth ?? exported.auth,
    signing: { ...exported.signing, ...signing },
    encryption: { ...exported.encryption, ...encryption },
  };
  await expect(importMailbox(damaged)).rejects.toThrow(new UsageError('mailbox_malformed'));
});
