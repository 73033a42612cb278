/** The relays' common secrets inside the manifest: only who holds the site's peer key reads them. */
import { expect, test } from 'vitest';
import { systemRandom } from '../../system/random.ts';
import { makePinnedIdentity, makeVoteKey } from '../certificates.ts';
import { openRelaySecrets, sealRelaySecrets } from './relay-secrets.ts';

const context = { wallMs: Date.now(), random: systemRandom };
const aws = await makePinnedIdentity(context, 'peer.aws.relay.test');
const awsNext = await makePinnedIdentity(context, 'peer.aws.relay.test');
const gcp = await makePinnedIdentity(context, 'peer.gcp.relay.test');
const secrets = '{"capabilityKeys":[],"pepper":"…"}';

const relaySecrets = [
  await sealRelaySecrets(secrets, 'aws', aws.certificatePem),
  await sealRelaySecrets(secrets, 'aws', awsNext.certificatePem),
];

test('each peer key that they were sealed for opens them', async () => {
  const opened = await Promise.all(
    [aws, awsNext].map(async ({ keyPem }) => openRelaySecrets({ relaySecrets }, 'aws', keyPem)),
  );
  expect(opened).toEqual([aws, awsNext].map(() => ({ ok: true, value: secrets })));
});

test('another key does not, and a site without any is told so', async () => {
  expect(await openRelaySecrets({ relaySecrets }, 'aws', gcp.keyPem)).toEqual({
    ok: false,
    fault: 'not_sealed_for_key',
  });
  expect(await openRelaySecrets({ relaySecrets }, 'gcp', gcp.keyPem)).toEqual({ ok: true, value: undefined });
  expect(await openRelaySecrets({}, 'aws', aws.keyPem)).toEqual({ ok: true, value: undefined });
});

test('what was altered, and a key that is no peer key, open nothing', async () => {
  const [first] = relaySecrets;
  const parts = (first?.jwe ?? '').split('.');
  const altered = parts.with(3, Buffer.from('another text').toString('base64url')).join('.');
  const cases = [
    openRelaySecrets({ relaySecrets: [{ site: 'aws', jwe: altered }] }, 'aws', aws.keyPem),
    openRelaySecrets({ relaySecrets }, 'aws', 'no key at all'),
    openRelaySecrets({ relaySecrets: [{ site: 'aws', jwe: 'a..b.c.d' }] }, 'aws', aws.keyPem),
  ];
  expect(await Promise.all(cases)).toEqual(cases.map(() => ({ ok: false, fault: 'unsealable' })));
  expect(await openRelaySecrets({ relaySecrets }, 'aws', makeVoteKey().keyPem)).toEqual({
    ok: false,
    fault: 'not_sealed_for_key',
  });
});
