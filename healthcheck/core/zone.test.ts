/**
 * The records that an answer becomes.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Manifest } from '../../fleet/manifest/manifest.ts';
import { testManifest } from '../../test/support/manifests.ts';
import { compileZone } from '../dns/compile.ts';
import { answerWithAll } from './failover.ts';
import { keyOf, targetsOf } from './target.ts';
import { type RecordSet, type Zone, zoneFaults, zoneFrom, zoneSerial } from './zone.ts';

const manifest = testManifest(['aws', 'gcp', 'hetzner'], { ipv6: true });

function zoneOf(over: Partial<Parameters<typeof zoneFrom>[0]> = {}): Zone {
  return zoneFrom({ manifest, self: 'gcp', answer: answerWithAll(manifest, 3), ttlSeconds: 6, ...over });
}

function variants(zone: Zone, name: string, type: RecordSet['type']): readonly (readonly string[])[] {
  const set = zone.names.get(name)?.find((one) => one.type === type);
  return set !== undefined && 'variants' in set ? set.variants : [];
}

test('the apex holds the answer, and A and AAAA come from the same decision', () => {
  const answer = {
    ...answerWithAll(manifest, 3),
    targets: ['gcp/ipv4', 'gcp/ipv6', 'hetzner/ipv4'] as const,
  };
  const zone = zoneOf({ answer });
  expect(variants(zone, 'relay.example.com', 'A')).toStrictEqual([
    ['192.0.2.11', '192.0.2.21'],
    ['192.0.2.21', '192.0.2.11'],
  ]);
  expect(variants(zone, 'relay.example.com', 'AAAA')).toStrictEqual([['2001:db8::2']]);
  expect(zone.names.get('relay.example.com')?.map((set) => [set.type, set.ttlSeconds])).toStrictEqual([
    ['A', 6],
    ['AAAA', 6],
    ['NS', 3600],
    ['SOA', 3600],
  ]);
});

test("a site's own name always leads to it, in the answer or not", () => {
  const answer = { ...answerWithAll(manifest, 3), targets: ['gcp/ipv4', 'gcp/ipv6'] as const };
  expect(variants(zoneOf({ answer }), 'aws.relay.example.com', 'A')).toStrictEqual([['192.0.2.1']]);
  expect(variants(zoneOf({ answer }), 'ns-aws.relay.example.com', 'A')).toStrictEqual([['198.51.100.1']]);
  expect(variants(zoneOf({ answer }), 'ns-aws.relay.example.com', 'AAAA')).toStrictEqual([]);
});

test('the zone names all nameservers, and this one as its source', () => {
  const zone = zoneOf();
  const ns = zone.names.get('relay.example.com')?.find((set) => set.type === 'NS');
  expect(ns).toMatchObject({
    names: ['ns-aws.relay.example.com', 'ns-gcp.relay.example.com', 'ns-hetzner.relay.example.com'],
  });
  expect(zone.soa).toMatchObject({ primary: 'ns-gcp.relay.example.com', negativeTtlSeconds: 5 });
});

/** RFC 1982 §3.2. */
function isLater(a: number, b: number): boolean {
  return (a - b) >>> 0 > 0 && (a - b) >>> 0 < 2 ** 31;
}

test('the serial grows with the generation and with the manifest version, by RFC 1982', () => {
  fc.assert(
    fc.property(
      fc.nat({ max: 1e9 }),
      fc.nat({ max: 1e6 }),
      fc.nat({ max: 20_000 }),
      (version, generation, more) => {
        const serial = zoneSerial(version, generation);
        expect(isLater(zoneSerial(version, generation + 1 + more), serial)).toBe(true);
        expect(isLater(zoneSerial(version + 1, generation + more), serial)).toBe(true);
      },
    ),
  );
});

test('first addresses spread evenly over the sites, and the second is at another provider', () => {
  const names = fc.uniqueArray(fc.constantFrom('aws', 'aws-2', 'aws-3', 'gcp', 'gcp-2', 'hetzner', 'ovh'), {
    minLength: 1,
  });
  fc.assert(
    fc.property(names, fc.integer({ min: 1, max: 4 }), (sites, addresses) => {
      const fleet = testManifest(sites, { addresses });
      const zone = zoneFrom({
        manifest: fleet,
        self: sites[0] ?? '',
        answer: answerWithAll(fleet, 1),
        ttlSeconds: 6,
      });
      const all = variants(zone, 'relay.example.com', 'A');
      const siteOf = (address: string | undefined) =>
        fleet.sites.find((site) => site.relay.ipv4.some((one) => one === address));
      const firsts = all.map((variant) => siteOf(variant[0])?.name ?? '');
      const counts = sites.map((site) => firsts.filter((first) => first === site).length);
      expect(new Set(counts).size).toBe(1);
      // Within a site, each of its addresses has its turn as the first.
      expect(new Set(all.map((variant) => variant[0])).size).toBe(sites.length * addresses);
      const providers = new Set(fleet.sites.map((site) => site.provider));
      for (const variant of all) {
        expect(new Set(variant).size).toBe(variant.length);
        expect(variant.length).toBe(Math.min(8, sites.length * addresses));
        if (providers.size < 2) continue;
        expect(siteOf(variant[0])?.provider).not.toBe(siteOf(variant[1])?.provider);
      }
    }),
  );
});

test('a site whose name would collide with a nameserver makes no zone', () => {
  expect(zoneFaults(manifest)).toStrictEqual([]);
  expect(zoneFaults(testManifest(['ns-aws']))[0]).toContain('"ns-aws"');
});

test('a zone of the longest names can be served, and longer ones are told before', () => {
  const zone = `${'a'.repeat(60)}.${'b'.repeat(60)}.${'c'.repeat(60)}.example.com`;
  const withRecord = (name: string): Manifest => ({
    ...testManifest(['aws', 'gcp']),
    zone,
    records: [{ name, type: 'TXT', ttlSeconds: 60, data: ['text'] }],
  });
  const longest = withRecord('d'.repeat(251 - zone.length - 1));
  expect(zoneFaults(longest)).toStrictEqual([]);
  const served = zoneFrom({
    manifest: longest,
    self: 'aws',
    answer: answerWithAll(longest, 1),
    ttlSeconds: 5,
  });
  expect(() => compileZone(served, () => [new Uint8Array(64)])).not.toThrow();
  expect(zoneFaults(withRecord('d'.repeat(251 - zone.length)))[0]).toContain('longer than 251 characters');
});

test('the targets of a zone are the published ones', () => {
  expect(targetsOf(manifest).map(keyOf)).toContain('hetzner/ipv6');
  expect(targetsOf(testManifest(['aws'])).map(keyOf)).toStrictEqual(['aws/ipv4']);
});
