/**
 * A manifest that is wrong about this machine is known before anybody else refuses the machine.
 */
import { createPrivateKey } from 'node:crypto';
import { expect, test } from 'vitest';
import type { Manifest } from '../fleet/manifest/manifest.ts';
import { makeZoneKeys } from '../fleet/zone-keys.ts';
import { testManifest } from '../test/support/manifests.ts';
import { ownEntryFaults } from './own-entry.ts';

const manifest = testManifest(['aws', 'gcp'], { witnesses: ['ovh'] });
const dnsListen = { host: '192.0.2.7', port: 53 };
const aws = {
  site: 'aws',
  pin: 'vantage-pin-aws',
  votePublicKey: 'vote-key-aws',
  zoneKey: undefined,
  dnsListen,
};
const made = makeZoneKeys(manifest.zone, ['aws', 'gcp'], Date.now());
const signed: Manifest = { ...manifest, zoneKeys: made.zoneKeys };
const zoneKey = (site: string) => createPrivateKey(made.keyPem.get(site) ?? '');

test('what is so has no faults, and a manifest without this vantage none either', () => {
  expect(ownEntryFaults(aws, manifest)).toStrictEqual([]);
  expect(ownEntryFaults({ ...aws, zoneKey: zoneKey('aws') }, signed)).toStrictEqual([]);
  expect(ownEntryFaults({ ...aws, site: 'gone' }, manifest)).toStrictEqual([]);
  const ovh = { ...aws, site: 'ovh', pin: 'vantage-pin-ovh', votePublicKey: 'vote-key-ovh' };
  expect(ownEntryFaults({ ...ovh, dnsListen: undefined }, signed)).toStrictEqual([]);
});

test('keys that are not the ones in the manifest are named', () => {
  expect(ownEntryFaults({ ...aws, pin: 'other', votePublicKey: 'other' }, manifest)).toStrictEqual([
    'VANTAGE_VOTE_KEY: the manifest lists another public key for aws (vantage.voteKey)',
    'VANTAGE_TLS_CERTIFICATE: the manifest does not list its key for aws (vantage.pins)',
  ]);
});

test("a signed zone needs this site's key, and no other will do", () => {
  expect(ownEntryFaults(aws, signed)).toStrictEqual([
    'VANTAGE_ZONE_KEY: the zone is signed (zoneKeys), so this site needs its key',
  ]);
  expect(ownEntryFaults({ ...aws, zoneKey: zoneKey('gcp') }, signed)).toStrictEqual([
    'VANTAGE_ZONE_KEY: the manifest does not list its public key for aws (zoneKeys)',
  ]);
});

test('a site has a nameserver, and a witness has none', () => {
  expect(ownEntryFaults({ ...aws, dnsListen: undefined }, manifest)).toStrictEqual([
    'VANTAGE_DNS_LISTEN: expected an IP address and a port, such as 192.0.2.7:53, got nothing',
  ]);
  const ovh = { ...aws, site: 'ovh', pin: 'vantage-pin-ovh', votePublicKey: 'vote-key-ovh' };
  expect(ownEntryFaults(ovh, manifest)).toStrictEqual([
    'VANTAGE_DNS_LISTEN: ovh is a witness, which has no nameserver; leave it out',
  ]);
});
