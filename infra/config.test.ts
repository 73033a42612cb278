/** What the stack's configuration may say, and how it is told what is wrong. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { secretsOf } from '../test/support/mock-engine.ts';
import { type GivenConfig, parseConfig } from './config.ts';

const hetzner = { name: 'hetzner', provider: 'hetzner', location: 'fsn1', zones: ['eu-central'] };
const good: GivenConfig = {
  sites: [hetzner],
  release: { sha256: 'ab'.repeat(32), urls: ['https://example.com/archipelago.tar.gz'] },
  manifestKey: 'k'.repeat(43),
  areSecretsEncrypted: true,
  secrets: { hetzner: secretsOf({ provider: 'hetzner' }) },
};

function faultsOf(change: Partial<GivenConfig>): readonly string[] {
  const parsed = parseConfig({ ...good, ...change });
  return parsed.ok ? [] : parsed.fault;
}

const withSite = (change: object): Partial<GivenConfig> => ({ sites: [{ ...hetzner, ...change }] });

test('a stack with one site needs no more than what has no default', () => {
  const parsed = parseConfig(good);
  expect(parsed.ok ? parsed.value.sites : parsed.fault).toEqual([
    { ...hetzner, relays: 2, relaysMax: 2, redisGb: 20, sizes: {} },
  ]);
});

test.each<[Partial<GivenConfig>, string]>([
  [{ sites: undefined }, 'archipelago:sites[0].name: expected a list'],
  [{ sites: [] }, 'archipelago:sites[0].name: expected a list'],
  [withSite({ name: 'AWS' }), 'archipelago:sites[0].name: expected'],
  [withSite({ provider: 'azure' }), 'archipelago:sites[0].provider: expected aws, gcp, hetzner'],
  [withSite({ location: undefined }), 'archipelago:sites[0].location: expected'],
  [withSite({ regoin: 'x' }), 'archipelago:sites[0].regoin: no such field'],
  [withSite({ zones: [] }), 'archipelago:sites[0].zones[0]: expected the network zone'],
  [withSite({ relays: 1 }), 'archipelago:sites[0].relays: expected a whole number from 2'],
  [withSite({ relaysMax: 4 }), 'archipelago:sites[0].relaysMax: Hetzner has no autoscaling'],
  [withSite({ relaySize: 'not a type' }), 'archipelago:sites[0].relaySize: expected a machine type'],
  [withSite({ provider: 'aws' }), 'archipelago:sites[0].zones[0]: expected two availability zones'],
  [
    withSite({ provider: 'gcp', zones: ['europe-west3-a', 'europe-west3-b'] }),
    'archipelago:sites[0].project: expected',
  ],
  [{ release: undefined }, 'archipelago:release.sha256: expected'],
  [
    { release: { sha256: 'ab'.repeat(32), urls: ['https://example.com/a b'] } },
    'archipelago:release.urls[0]: expected',
  ],
  [{ manifestKey: 'short' }, 'archipelago:manifestKey: expected'],
  [{ release: { sha256: 'ab'.repeat(32) } }, 'archipelago:release.urls[0]: expected'],
  [{ release: { file: 'no/such/file' } }, 'archipelago:release.file: cannot read '],
  [{ release: { file: 'package.json', sha256: 'ab'.repeat(32) } }, 'archipelago:release.sha256: differs'],
  [
    { release: { file: 'package.json' } },
    'archipelago:release.urls[0]: expected an address of the release: Pulumi',
  ],
  [{ manifestKey: 'A'.repeat(43) }, 'archipelago:manifestKey: expected'],
  [{ rolloutTimeout: 4000 }, 'archipelago:rolloutTimeout: expected'],
  [{ protect: 'no' }, 'archipelago:protect: expected'],
  [{ areSecretsEncrypted: false }, 'archipelago:secrets: in clear'],
  [{ acme: { directory: 'http://ca.test' } }, 'archipelago:acme.directory: expected'],
  [{ acme: { directory: 'https://ca.test', contact: 'me' } }, 'archipelago:acme.contact: expected'],
  [{ acme: { url: 'https://ca.test' } }, 'archipelago:acme.url: no such field'],
  [{ manifestVersionMin: 0 }, 'archipelago:manifestVersionMin: expected'],
])('%j is refused with its path and a command that mends it', (change, start) => {
  const [fault = ''] = faultsOf(change).filter((line) => line.startsWith(start));
  expect(fault).not.toBe('');
  expect(fault).toContain('pulumi config ');
});

test('a release that is a file here is pinned by its hash', () => {
  const urls = ['https://example.com/archipelago.tar.gz'];
  const parsed = parseConfig({ ...good, release: { file: 'package.json', urls } });
  const bytes = readFileSync(join(import.meta.dirname, '../package.json'));
  expect(parsed.ok ? parsed.value.release : parsed.fault).toEqual({
    file: join(import.meta.dirname, '../package.json'),
    sha256: createHash('sha256').update(bytes).digest('hex'),
    urls,
  });
});

test('the certificate of the relays is two files, or comes from an authority', () => {
  const {
    'tls-key': key = '',
    'tls-certificate': _,
    ...relay
  } = secretsOf({ provider: 'hetzner' })['relay'] ?? {};
  const without = { hetzner: { ...secretsOf({ provider: 'hetzner' }), relay } };
  const half = { hetzner: { ...secretsOf({ provider: 'hetzner' }), relay: { ...relay, 'tls-key': key } } };
  const acme = {
    directory: 'https://acme-v02.api.letsencrypt.org/directory',
    contact: 'mailto:ops@example.com',
  };
  expect(faultsOf({ secrets: without })).toHaveLength(2);
  expect(faultsOf({ secrets: half, acme })).toEqual([
    expect.stringContaining('secrets.hetzner.relay.tls-certificate: expected'),
  ]);
  const parsed = parseConfig({ ...good, secrets: without, acme });
  expect(parsed.ok ? parsed.value.nameserverSettings : parsed.fault).toEqual({
    VANTAGE_ACME_DIRECTORY: acme.directory,
    VANTAGE_ACME_CONTACT: acme.contact,
  });
});

test('the key of an account goes to no machine that has no authority', () => {
  const given = secretsOf({ provider: 'hetzner' });
  const nameserver = { ...given['nameserver'], 'acme-account-key': 'PEM', 'operator-token': 'token' };
  const secrets = { hetzner: { ...given, nameserver } };
  const filesWith = (acme: object): readonly string[] => {
    const parsed = parseConfig({ ...good, secrets, ...acme });
    return parsed.ok ? Object.keys(parsed.value.secrets['hetzner']?.nameserver ?? {}) : parsed.fault;
  };
  expect(filesWith({})).toContain('operator-token');
  expect(filesWith({})).not.toContain('acme-account-key');
  expect(filesWith({ acme: { directory: 'https://ca.test/dir' } })).toContain('acme-account-key');
});

test('every fault is told at once', () => {
  const faults = faultsOf({ sites: [{}], release: {}, manifestKey: '' });
  for (const path of ['sites[0].name', 'sites[0].location', 'release.sha256', 'manifestKey']) {
    expect(faults.join('\n')).toContain(`archipelago:${path}: `);
  }
});

test('two sites of one name are refused', () => {
  expect(faultsOf({ sites: [hetzner, hetzner] })).toEqual([
    expect.stringContaining('"hetzner" is used twice'),
  ]);
});

test('a number may come as text, as some versions of the CLI write it', () => {
  expect(faultsOf(withSite({ redisGb: '40' }))).toEqual([]);
});

test('a secret file that is missing is named, and its content is never repeated', () => {
  const { relay, redis, nameserver } = secretsOf({ provider: 'hetzner' });
  const faults = faultsOf({
    secrets: {
      hetzner: { relay: { ...relay, 'peer-key': '' }, redis, nameserver: { ...nameserver, extra: 'x' } },
    },
  });
  expect(faults).toHaveLength(2);
  expect(faults[1]).toContain('archipelago:secrets.hetzner.nameserver.extra: no such field');
  expect(faults[0]).toContain('pulumi config set --secret --path');
  expect(faults.join()).not.toContain('THE-CONTENT');
});

test('Redis and its relays must have one password', () => {
  const secrets = secretsOf({ provider: 'hetzner' });
  const redis = { ...secrets['redis'], 'redis-password': 'another-password-of-redis-0123' };
  expect(faultsOf({ secrets: { hetzner: { ...secrets, redis } } })).toEqual([
    expect.stringContaining('differs from that of the relays'),
  ]);
});
