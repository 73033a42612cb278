/**
 * Settings: whole, or every fault as a sentence.
 */
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportJWK } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeAuthority, makePinnedIdentity, makeVoteKey } from '../fleet/certificates.ts';
import { type Manifest } from '../fleet/manifest/manifest.ts';
import { signManifest } from '../fleet/manifest/signed.ts';
import { makeZoneKeys } from '../fleet/zone-keys.ts';
import { pinOf } from '../system/pinned-tls.ts';
import { systemRandom } from '../system/random.ts';
import { testManifest } from '../test/support/manifests.ts';
import { readVantageConfig } from './config.ts';

const context = { wallMs: Date.now(), random: systemRandom };
const operators = generateKeyPairSync('ed25519');
const vote = makeVoteKey();
const identity = await makePinnedIdentity(context, 'aws');
let directory: string;
let good: Readonly<Record<string, string>>;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vantage-config-'));
  good = {
    VANTAGE_SITE: 'aws',
    VANTAGE_MANIFEST: await file('manifest', await signed(manifestOf(['aws', 'gcp']))),
    VANTAGE_MANIFEST_KEY: operators.publicKey.export({ format: 'jwk' }).x ?? '',
    VANTAGE_DNS_LISTEN: '192.0.2.7:53',
    VANTAGE_VOTE_LISTEN: '[2001:db8::7]:8443',
    VANTAGE_PRIVATE_LISTEN: '127.0.0.1:9100',
    VANTAGE_VOTE_KEY: await file('vote.pem', vote.keyPem),
    VANTAGE_TLS_CERTIFICATE: await file('cert.pem', identity.certificatePem),
    VANTAGE_TLS_KEY: await file('key.pem', identity.keyPem),
    VANTAGE_STATE_DIR: directory,
  };
});
afterAll(async () => rm(directory, { recursive: true }));

async function file(name: string, content: string): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, content);
  return path;
}

async function signed(manifest: Manifest): Promise<string> {
  return signManifest(manifest, await exportJWK(operators.privateKey));
}

/** A manifest in which every site has well-formed keys, and the first one those of this test. */
function manifestOf(names: readonly string[]): Manifest {
  const base = testManifest(names);
  return {
    ...base,
    sites: base.sites.map((site, index) => ({
      ...site,
      relay: { ...site.relay, pins: [pinOf(Buffer.from(`relay ${index}`))] },
      vantage: {
        ...site.vantage,
        pins: [index === 0 ? pinOf(identity.publicKeySpki) : pinOf(Buffer.from(`vantage ${index}`))],
        voteKey: index === 0 ? vote.publicKey : makeVoteKey().publicKey,
      },
    })),
  };
}

async function faults(over: Readonly<Record<string, string | undefined>>): Promise<readonly string[]> {
  const read = await readVantageConfig({ ...good, ...over });
  return read.ok ? [] : read.fault;
}

test('what is right is read whole, with defaults for the rest', async () => {
  const read = await readVantageConfig(good);
  if (!read.ok) throw new Error(read.fault.join('\n'));
  expect(read.value).toMatchObject({
    site: 'aws',
    dnsListen: { host: '192.0.2.7', port: 53 },
    voteListen: { host: '2001:db8::7', port: 8443 },
    extraCa: undefined,
    logLevel: 'info',
    stopWithStdin: false,
    manifest: { version: 7 },
  });
});

test('all faults are told at once, and a slip of the hand is named', async () => {
  const told = await faults({
    VANTAGE_DNS_LISTEN: 'localhost:53',
    VANTAGE_VOTE_LISTEN: undefined,
    VANTAGE_STATE_DIR: join(directory, 'missing'),
    VANTAGE_LOG_LEVL: 'debug',
  });
  expect(told).toHaveLength(4);
  expect(told.join('\n')).toContain('VANTAGE_LOG_LEVL: no such setting; did you mean VANTAGE_LOG_LEVEL?');
});

test('a manifest by another key, or older than allowed, is a fault', async () => {
  const other = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' }).x ?? '';
  expect((await faults({ VANTAGE_MANIFEST_KEY: other }))[0]).toContain("not signed by the operators' key");
  expect(await faults({ VANTAGE_MANIFEST_VERSION_MIN: '8' })).toStrictEqual([
    'manifest: version 7 is older than the oldest accepted, 8',
  ]);
});

test('a site that the manifest does not know is a fault', async () => {
  expect(await faults({ VANTAGE_SITE: 'awz' })).toStrictEqual([
    'VANTAGE_SITE: the manifest has no site "awz"; did you mean aws?',
  ]);
});

test('a manifest that makes no zone is a fault', async () => {
  const path = await file('collision', await signed(manifestOf(['aws', 'ns-aws'])));
  expect((await faults({ VANTAGE_MANIFEST: path }))[0]).toContain('"ns-aws"');
});

test('keys that are not the ones in the manifest are told before anyone refuses them', async () => {
  const strangeIdentity = await makePinnedIdentity(context, 'aws');
  const told = await faults({
    VANTAGE_VOTE_KEY: await file('strange-vote.pem', makeVoteKey().keyPem),
    VANTAGE_TLS_CERTIFICATE: await file('strange-cert.pem', strangeIdentity.certificatePem),
    VANTAGE_TLS_KEY: await file('strange-key.pem', strangeIdentity.keyPem),
  });
  expect(told).toStrictEqual([
    'VANTAGE_VOTE_KEY: the manifest lists another public key for aws (vantage.voteKey)',
    'VANTAGE_TLS_CERTIFICATE: the manifest does not list its key for aws (vantage.pins)',
  ]);
  expect(await faults({ VANTAGE_TLS_KEY: await file('k.pem', strangeIdentity.keyPem) })).toStrictEqual([
    'VANTAGE_TLS_KEY: it does not belong to VANTAGE_TLS_CERTIFICATE',
  ]);
});

test('files that hold something else are faults, and never thrown', async () => {
  const nonsense = await file('nonsense', 'nonsense');
  for (const name of [
    'VANTAGE_MANIFEST',
    'VANTAGE_VOTE_KEY',
    'VANTAGE_TLS_CERTIFICATE',
    'VANTAGE_TLS_KEY',
    'VANTAGE_CA',
  ]) {
    expect(await faults({ [name]: nonsense })).toHaveLength(1);
  }
  const ca = await file('ca.pem', (await makeAuthority(context)).certificatePem);
  expect(await faults({ VANTAGE_CA: ca })).toStrictEqual([]);
});

test("a signed zone needs this site's key, and no other will do", async () => {
  const made = makeZoneKeys('relay.example.com', ['aws', 'gcp'], Date.now());
  const withKeys = { ...manifestOf(['aws', 'gcp']), zoneKeys: made.zoneKeys };
  const settings = { ...good, VANTAGE_MANIFEST: await file('signed-zone', await signed(withKeys)) };
  const keyOf = async (site: string): Promise<string> =>
    file(`${site}.zone.pem`, made.keyPem.get(site) ?? '');
  const faultsWith = async (over: Readonly<Record<string, string>>): Promise<readonly string[]> => {
    const config = await readVantageConfig({ ...settings, ...over });
    return config.ok ? [] : config.fault;
  };
  expect(await faultsWith({ VANTAGE_ZONE_KEY: await keyOf('aws') })).toStrictEqual([]);
  expect(await faultsWith({})).toStrictEqual([
    'VANTAGE_ZONE_KEY: the zone is signed (zoneKeys), so this site needs its key',
  ]);
  expect(await faultsWith({ VANTAGE_ZONE_KEY: await keyOf('gcp') })).toStrictEqual([
    'VANTAGE_ZONE_KEY: the manifest does not list its public key for aws (zoneKeys)',
  ]);
  expect(await faultsWith({ VANTAGE_ZONE_KEY: await file('vote.key', vote.keyPem) })).toStrictEqual([
    'VANTAGE_ZONE_KEY: expected an EC private key on P-256 (PKCS#8 PEM)',
  ]);
});

test('cookie secrets are 1 to 3 lines of 32 digits', async () => {
  const line = '00112233445566778899aabbccddeeff';
  const three = await readVantageConfig({
    ...good,
    VANTAGE_COOKIE_SECRETS: await file('c', `${line}\n${line}\n`),
  });
  expect(three.ok ? three.value.cookieSecrets?.map((secret) => secret.length) : three.fault).toStrictEqual([
    16, 16,
  ]);
  const short = await readVantageConfig({ ...good, VANTAGE_COOKIE_SECRETS: await file('d', line.slice(1)) });
  expect(short.ok ? [] : short.fault[0]).toContain('VANTAGE_COOKIE_SECRETS: expected the path');
  if (!short.ok) expect(short.fault[0]).toContain('got something else');
});

test('transfer keys and secondaries are read whole or not at all', async () => {
  const secret = Buffer.alloc(32, 1).toString('base64');
  const settings = {
    ...good,
    VANTAGE_TRANSFER_KEYS: await file('tsig', `hmac-sha256:a:${secret}\nhmac-sha512:b.example:${secret}\n`),
    VANTAGE_SECONDARIES: '192.0.2.9:53, [2001:db8::9]:5353',
  };
  const config = await readVantageConfig(settings);
  if (!config.ok) throw new Error(config.fault.join());
  expect(config.value.transferKeys.map(({ name }) => name)).toStrictEqual(['a', 'b.example']);
  expect(config.value.secondaries).toStrictEqual([
    { host: '192.0.2.9', port: 53 },
    { host: '2001:db8::9', port: 5353 },
  ]);
  const faulty = await readVantageConfig({ ...settings, VANTAGE_SECONDARIES: '192.0.2.9' });
  expect(faulty.ok ? '' : faulty.fault[0]).toContain('VANTAGE_SECONDARIES: expected up to 8 addresses');
});
