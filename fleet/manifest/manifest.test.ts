/** The manifest: believed only when the operators signed it, and only whole. */
import { generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  canonicalOrigin,
  DEFAULT_HEALTH_POLICY,
  type Manifest,
  NO_OVERRIDES,
  peerServerName,
  type SiteEntry,
  siteOrigin,
  WEIGHT_DEFAULT,
} from './manifest.ts';
import { signOverrides } from './overrides.ts';
import { parseManifest } from './parse.ts';
import { openManifest, SIGNED_MANIFEST_BYTES_MAX, signManifest } from './signed.ts';

const operators = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
const publicKey = operators.x ?? '';

function site(name: string, letter: string): SiteEntry {
  return {
    name,
    provider: name,
    weight: WEIGHT_DEFAULT,
    relay: { ipv4: ['192.0.2.1'], ipv6: ['2001:db8::1'], pins: [letter.repeat(43)] },
    vantage: {
      ipv4: '192.0.2.2',
      ipv6: null,
      dnsPort: 53,
      votePort: 8443,
      pins: [`${letter.repeat(42)}1`],
      voteKey: `${letter.repeat(42)}2`,
    },
  };
}

const manifest: Manifest = {
  format: 1,
  version: 7,
  zone: 'relay.example.com',
  port: 443,
  sites: [site('aws', 'a'), site('gcp', 'b')],
  witnesses: [],
  health: DEFAULT_HEALTH_POLICY,
  steering: 'spread',
  externalCanaries: [],
  overrides: NO_OVERRIDES,
};

const drained = (name: string): object => ({ site: name, state: 'drained', untilWallMs: 1 });
const witness = {
  name: 'ovh',
  provider: 'ovh',
  vantage: {
    ipv4: '192.0.2.9',
    ipv6: null,
    votePort: 8443,
    pins: ['w'.repeat(43)],
    voteKey: `${'w'.repeat(42)}2`,
  },
};
const canary = { address: '192.0.2.53', port: 443, name: 'canary.example.net' };

/** A copy with one change, as somebody's JSON. */
function changed(change: (copy: Record<string, unknown>) => void): unknown {
  const copy = JSON.parse(JSON.stringify(manifest)) as Record<string, unknown>;
  change(copy);
  return copy;
}

test('what was signed is what is read', async () => {
  const opened = await openManifest(await signManifest(manifest, operators), publicKey, 7);
  expect(opened).toEqual({ ok: true, value: manifest });
});

test('another key, an altered text and an old version are refused by name', async () => {
  const signed = await signManifest(manifest, operators);
  const stranger = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' }).x ?? '';
  const refusals = await Promise.all([
    openManifest(signed, stranger, 1),
    openManifest(signed.slice(0, 80) + (signed[80] === 'A' ? 'B' : 'A') + signed.slice(81), publicKey, 1),
    openManifest(signed.slice(0, -10), publicKey, 1),
    openManifest(signed, publicKey, 8),
  ]);
  const said = refusals.map((refusal) => (refusal.ok ? 'accepted' : refusal.fault.details.join(' ')));
  expect(refusals.map((refusal) => (refusal.ok ? undefined : refusal.fault.reason))).toEqual([
    'not_signed',
    'not_signed',
    'not_signed',
    'below_minimum',
  ]);
  expect(said.slice(0, 3)).toEqual(
    Array(3).fill(expect.stringContaining("not signed by the operators' key")),
  );
  expect(said[3]).toBe('manifest: version 7 is older than the oldest accepted, 8');
});

test.each<[string, (copy: Record<string, unknown>) => void]>([
  ['manifest.sites: expected a list', (copy) => Object.assign(copy, { sites: [] })],
  ['manifest.zone: expected', (copy) => Object.assign(copy, { zone: 'Relay.example.com.' })],
  ['manifest.port: expected', (copy) => Object.assign(copy, { port: 0 })],
  [
    'manifest.sites[0].relay.ipv6: expected',
    (copy) => Object.assign((copy['sites'] as SiteEntry[])[0]?.relay ?? {}, { ipv6: ['fe80::1%eth0'] }),
  ],
  [
    'manifest.sites[1].vantage.ipv6: expected',
    (copy) => Object.assign((copy['sites'] as SiteEntry[])[1]?.vantage ?? {}, { ipv6: 'fe80::1%eth0' }),
  ],
  ['manifest.surprise: no such field', (copy) => Object.assign(copy, { surprise: 1 })],
  [
    'manifest.health.probeTimeoutMs: expected less',
    (copy) => Object.assign(copy['health'] as object, { probeTimeoutMs: 5000 }),
  ],
  [
    'manifest.health.ttlMinSeconds: expected at most',
    (copy) => Object.assign(copy['health'] as object, { ttlMinSeconds: 61 }),
  ],
  [
    'manifest: "aws" is listed twice',
    (copy) => Object.assign((copy['sites'] as object[])[1] ?? {}, { name: 'aws' }),
  ],
  [
    'manifest.overrides.sites: every site is drained',
    (copy) => Object.assign(copy['overrides'] as object, { sites: ['aws', 'gcp'].map(drained) }),
  ],
  [
    'manifest.overrides.sites: there is no site "azure"',
    (copy) => Object.assign(copy['overrides'] as object, { sites: [drained('azure')] }),
  ],
  [
    'manifest.overrides.sites: "aws" is listed twice',
    (copy) => Object.assign(copy['overrides'] as object, { sites: [drained('aws'), drained('aws')] }),
  ],
  [
    'manifest.overrides.frozenUntilWallMs: expected a whole number',
    (copy) => Object.assign(copy['overrides'] as object, { frozenUntilWallMs: 'tomorrow' }),
  ],
  ['manifest.steering: expected spread or priority', (copy) => Object.assign(copy, { steering: 'fast' })],
  [
    'manifest.sites[1].weight: expected a whole number between 1 and 100',
    (copy) => Object.assign((copy['sites'] as object[])[1] ?? {}, { weight: 0 }),
  ],
  [
    'manifest: "aws" is listed twice',
    (copy) => Object.assign(copy, { witnesses: [{ ...witness, name: 'aws' }] }),
  ],
  [
    'manifest.witnesses[0].relay: no such field',
    (copy) => Object.assign(copy, { witnesses: [{ ...witness, relay: {} }] }),
  ],
  [
    'manifest.externalCanaries[0].address: expected an address',
    (copy) => Object.assign(copy, { externalCanaries: [{ ...canary, address: 'one.example' }] }),
  ],
  [
    'manifest.sites[0].name: expected',
    (copy) => Object.assign((copy['sites'] as object[])[0] ?? {}, { name: '' }),
  ],
])('%s …', (start, change) => {
  const parsed = parseManifest(changed(change));
  expect(parsed.ok ? [] : parsed.fault).toContainEqual(expect.stringContaining(start));
});

test('overrides, a freeze, witnesses, canaries and steering are read as they were signed', async () => {
  const rich: Manifest = {
    ...manifest,
    witnesses: [{ ...witness, vantage: { ...witness.vantage, operatorTokenHash: 'h'.repeat(43) } }],
    steering: 'priority',
    externalCanaries: [canary],
    overrides: {
      sites: [{ site: 'aws', state: 'draining', untilWallMs: 1_800_000_000_000 }],
      frozenUntilWallMs: 1_800_000_000_000,
    },
  };
  const opened = await openManifest(await signManifest(rich, operators), publicKey, 7);
  expect(opened).toEqual({ ok: true, value: rich });
});

test('a site without any address is refused', () => {
  const parsed = parseManifest(
    changed((copy) => {
      const [first] = copy['sites'] as { relay: object }[];
      Object.assign(first?.relay ?? {}, { ipv4: [], ipv6: [] });
    }),
  );
  expect(parsed.ok ? [] : parsed.fault).toEqual([
    'manifest.sites[0].relay.ipv4: expected at least one address, got []',
  ]);
});

const withKeys = {
  ...manifest,
  records: [{ name: '_mta-sts', type: 'TXT', ttlSeconds: 300, data: ['v=STSv1; id=1'] }],
  zoneKeys: {
    ttlSeconds: 3600,
    keys: [
      { site: null, publicKey: 'k'.repeat(86) },
      { site: 'aws', publicKey: 'z'.repeat(86) },
    ],
    signatures: [{ keyTag: 7, inceptionSeconds: 1, expirationSeconds: 2, signature: 's'.repeat(86) }],
  },
};

test('records and zone keys are read when they are there', () => {
  expect(parseManifest(JSON.parse(JSON.stringify(withKeys)))).toEqual({ ok: true, value: withKeys });
});

test('a signing key of a site that is not in the fleet is refused', () => {
  const { zoneKeys } = withKeys;
  const dropped = {
    ...withKeys,
    zoneKeys: { ...zoneKeys, keys: [...zoneKeys.keys, { site: 'ovh', publicKey: 'y'.repeat(86) }] },
  };
  const parsed = parseManifest(dropped);
  expect(parsed.ok ? [] : parsed.fault).toEqual(['manifest.zoneKeys: there is no site "ovh"']);
});

test.each([
  [{ type: 'CNAME' }, 'manifest.records[0].type: expected'],
  [{ name: 'Up.Case' }, 'manifest.records[0].name: expected'],
  [{ data: [] }, 'manifest.records[0].data: expected'],
])('an extra record set with %j is refused', (change, start) => {
  const parsed = parseManifest({ ...withKeys, records: [{ ...withKeys.records[0], ...change }] });
  expect(parsed.ok ? [] : parsed.fault).toEqual([expect.stringContaining(start)]);
});

test('no JSON value makes the parser throw', () => {
  fc.assert(fc.property(fc.jsonValue(), (value) => !parseManifest(value).ok));
  fc.assert(
    fc.property(fc.constantFrom(...Object.keys(withKeys)), fc.jsonValue(), (field, value) => {
      parseManifest(changed((copy) => Object.assign(copy, { [field]: value })));
    }),
  );
});

const onCallKeys = [{ name: 'ada', publicKey: 'o'.repeat(43) }];
const jwe = 'eyJh..bm9uY2U.Y2lwaGVy.dGFn';

test('keys of those on call and sealed secrets are read when they are there', () => {
  const whole = { ...manifest, onCallKeys, relaySecrets: [{ site: 'aws', jwe }] };
  expect(parseManifest(JSON.parse(JSON.stringify(whole)))).toEqual({ ok: true, value: whole });
});

test.each<[object, string]>([
  [{ onCallKeys: [...onCallKeys, ...onCallKeys] }, 'manifest: "on call: ada" is listed twice'],
  [{ onCallKeys: [{ name: 'ada', publicKey: 'short' }] }, 'manifest.onCallKeys[0].publicKey: expected'],
  [{ onCallKeys: Array(9).fill(onCallKeys[0]) }, 'manifest.onCallKeys: expected a list of 0 to 8'],
  [{ relaySecrets: [{ site: 'ovh', jwe }] }, 'manifest.relaySecrets: there is no site "ovh"'],
  [{ relaySecrets: [{ site: 'aws', jwe: 'not a jwe' }] }, 'manifest.relaySecrets[0].jwe: expected'],
  [
    { relaySecrets: [{ site: 'aws', jwe: `${jwe}${'A'.repeat(4096)}` }] },
    'manifest.relaySecrets[0].jwe: expected at most',
  ],
])('%j is refused', (change, start) => {
  const parsed = parseManifest({ ...manifest, ...change });
  expect(parsed.ok ? [] : parsed.fault).toContainEqual(expect.stringContaining(start));
});

test('what drains everything, what is too large and what is signed as something else is refused by name', async () => {
  const out = { sites: ['aws', 'gcp'].map(drained), frozenUntilWallMs: null } as Manifest['overrides'];
  const signed = await signManifest({ ...manifest, overrides: out }, operators);
  const overrides = await signOverrides({ format: 1, sequence: 1, overrides: NO_OVERRIDES }, operators);
  const refusals = await Promise.all(
    [signed, 'x'.repeat(SIGNED_MANIFEST_BYTES_MAX + 1), overrides].map(async (text) =>
      openManifest(text, publicKey, 1),
    ),
  );
  expect(refusals.map((refusal) => (refusal.ok ? undefined : refusal.fault.reason))).toEqual([
    'drains_everything',
    'too_large',
    'not_signed',
  ]);
});

test('origins carry the port only when it is not 443', () => {
  expect(canonicalOrigin(manifest)).toBe('https://relay.example.com');
  expect(siteOrigin({ ...manifest, port: 8443 }, 'aws')).toBe('https://aws.relay.example.com:8443');
  expect(peerServerName(manifest, 'gcp')).toBe('peer.gcp.relay.example.com');
});
