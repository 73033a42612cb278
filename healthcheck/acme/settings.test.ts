/** Settings of ACME: what is taken, and the sentence for what is not. */
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { ok, type Result } from '../../system/result.ts';
import { readSettings } from '../../system/settings.ts';
import { ACME_SETTINGS, type AcmeConfig, acmeConfigOf } from './settings.ts';

const directory = mkdtempSync(join(tmpdir(), 'acme-settings-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const URL = 'https://authority.example/directory';

function file(name: string, content: string): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

function read(
  environment: Readonly<Record<string, string>>,
  hasNameserver = true,
): Result<AcmeConfig | undefined, readonly string[]> {
  const settings = readSettings('VANTAGE_', ACME_SETTINGS, environment);
  if (!settings.ok) return settings;
  const config = acmeConfigOf(settings.value, hasNameserver);
  return config.ok ? config : { ok: false, fault: [config.fault] };
}

const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
const keyPath = file('account.key', key.export({ type: 'pkcs8', format: 'pem' }));

test('without a directory there is no ACME, and nothing of it may be given', () => {
  expect(read({})).toEqual(ok(undefined));
  expect(read({ VANTAGE_ACME_CONTACT: 'mailto:ops@example.com' })).toEqual({
    ok: false,
    fault: ['VANTAGE_ACME_CONTACT: means nothing without VANTAGE_ACME_DIRECTORY'],
  });
});

test('a directory is enough, and everything else is optional', () => {
  expect(read({ VANTAGE_ACME_DIRECTORY: URL })).toMatchObject({ value: { directoryUrl: URL } });
  const all = read({
    VANTAGE_ACME_DIRECTORY: URL,
    VANTAGE_ACME_CONTACT: 'mailto:ops@example.com',
    VANTAGE_ACME_ACCOUNT_KEY: keyPath,
    VANTAGE_ACME_BINDING: file(
      'binding',
      'kid-1 zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W\n',
    ),
    VANTAGE_ACME_PROFILE: 'shortlived',
  });
  expect(all).toMatchObject({
    ok: true,
    value: {
      contact: 'mailto:ops@example.com',
      accountKey: key.export({ format: 'jwk' }),
      binding: { keyId: 'kid-1' },
      profile: 'shortlived',
    },
  });
  expect(all.ok && all.value?.binding?.hmacKey).toHaveLength(48);
});

test.each([
  ['VANTAGE_ACME_DIRECTORY', 'http://authority.example/directory', 'the https address'],
  ['VANTAGE_ACME_CONTACT', 'ops@example.com', 'such as mailto:'],
  ['VANTAGE_ACME_CA', keyPath, 'a certificate authority (PEM)'],
  [
    'VANTAGE_ACME_ACCOUNT_KEY',
    file('rsa', generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' })),
    'on P-256',
  ],
  ['VANTAGE_ACME_BINDING', file('short', 'kid-1 secret'), 'got something else'],
  ['VANTAGE_ACME_PROFILE', 'a b', 'a profile'],
])('%s=%s is a fault that says what is expected', (name, value, said) => {
  const result = read({ VANTAGE_ACME_DIRECTORY: URL, [name]: value });
  expect(result.ok ? [] : result.fault).toEqual([expect.stringContaining(`${name}: expected`)]);
  expect(result.ok ? '' : result.fault.join()).toContain(said);
  expect(result.ok ? '' : result.fault.join()).not.toContain('secret');
});

test('a witness needs no certificate', () => {
  expect(read({ VANTAGE_ACME_DIRECTORY: URL }, false)).toMatchObject({
    fault: [expect.stringContaining('a witness has no relays')],
  });
});
