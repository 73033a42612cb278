/** What is in force, from what nameservers say that do not know the same yet. */
import { generateKeyPairSync } from 'node:crypto';
import { expect, test } from 'vitest';
import { testManifest } from '../../test/support/manifests.ts';
import type { Manifest } from '../manifest/manifest.ts';
import { signOverrides } from '../manifest/overrides.ts';
import { signManifest } from '../manifest/signed.ts';
import { newestIn } from './fetched.ts';

const operators = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
const alice = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
const key = operators.x ?? '';

function manifestOf(version: number, onCall = [{ name: 'alice', publicKey: alice.x ?? '' }]): Manifest {
  const { sites, ...rest } = testManifest(['aws', 'gcp']);
  const keyed = sites.map((site, index) => ({
    ...site,
    relay: { ...site.relay, pins: [`${index}r`.padEnd(43, 'A')] },
    vantage: {
      ...site.vantage,
      pins: [`${index}v`.padEnd(43, 'A')],
      voteKey: `${index}k`.padEnd(43, 'A'),
    },
  }));
  return { ...rest, sites: keyed, version, onCallKeys: onCall };
}

async function reply(manifest: Manifest, sequence?: number): Promise<string> {
  const overrides = { sites: [], frozenUntilWallMs: null };
  return JSON.stringify({
    manifest: await signManifest(manifest, operators),
    overrides: sequence === undefined ? null : await signOverrides({ format: 1, sequence, overrides }, alice),
  });
}

test('the newest manifest and the newest word may come from two of them', async () => {
  const replies = [
    await reply(manifestOf(1), 20),
    await reply(manifestOf(2)),
    await reply(manifestOf(2), 10),
    'no JSON',
    'null',
  ];
  const newest = await newestIn(replies, [key]);
  expect(newest?.manifest.version).toBe(2);
  expect(newest?.overrides?.sequence).toBe(20);
});

test('a word counts only while the newest manifest lists who said it', async () => {
  const replies = [await reply(manifestOf(1), 20), await reply(manifestOf(2, []))];
  expect((await newestIn(replies, [key]))?.overrides).toBeUndefined();
  const stranger = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' }).x ?? '';
  expect(await newestIn(replies, [stranger])).toBeUndefined();
});
