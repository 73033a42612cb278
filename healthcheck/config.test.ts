/**
 * Settings: whole, or every fault as a sentence.
 */
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeAuthority, makePinnedIdentity, makeVoteKey } from '../fleet/certificates.ts';
import { pinOf } from '../system/pinned-tls.ts';
import { systemRandom } from '../system/random.ts';
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
    VANTAGE_MANIFEST: join(directory, 'manifest.jws'),
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
    votePublicKey: vote.publicKey,
    pin: pinOf(identity.publicKeySpki),
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

test('a certificate and a key that do not belong together are a fault', async () => {
  const strange = await makePinnedIdentity(context, 'aws');
  expect(await faults({ VANTAGE_TLS_KEY: await file('k.pem', strange.keyPem) })).toStrictEqual([
    'VANTAGE_TLS_KEY: it does not belong to VANTAGE_TLS_CERTIFICATE',
  ]);
});

test('the manifest need not be there yet, but its directory must', async () => {
  expect(await faults({ VANTAGE_MANIFEST: join(directory, 'later.jws') })).toStrictEqual([]);
  expect((await faults({ VANTAGE_MANIFEST: join(directory, 'none', 'later.jws') }))[0]).toContain(
    'VANTAGE_MANIFEST: expected the path of a file in an existing directory',
  );
});

test('files that hold something else are faults, and never thrown', async () => {
  const nonsense = await file('nonsense', 'nonsense');
  for (const name of [
    'VANTAGE_VOTE_KEY',
    'VANTAGE_TLS_CERTIFICATE',
    'VANTAGE_TLS_KEY',
    'VANTAGE_ZONE_KEY',
    'VANTAGE_CA',
  ]) {
    expect(await faults({ [name]: nonsense })).toHaveLength(1);
  }
  const ca = await file('ca.pem', (await makeAuthority(context)).certificatePem);
  expect(await faults({ VANTAGE_CA: ca })).toStrictEqual([]);
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
