/**
 * Who comes first how often.
 */
import { describe, expect, test } from 'vitest';
import type { Manifest } from '../../fleet/manifest/manifest.ts';
import { testManifest } from '../../test/support/manifests.ts';
import { answerWithAll } from './failover.ts';
import { ordersOf, type WarmShares, warmShares } from './rotation.ts';

const three = testManifest(['aws', 'gcp', 'hetzner']);
const NOBODY: WarmShares = new Map();

function weighted(weights: readonly number[], manifest: Manifest = three): Manifest {
  const sites = manifest.sites.map((site, index) => ({ ...site, weight: weights[index] ?? 1 }));
  return { ...manifest, sites };
}

/** How often each site comes first, in the order of the manifest. */
function firsts(manifest: Manifest, shares: WarmShares = NOBODY): readonly number[] {
  const orders = ordersOf(manifest, answerWithAll(manifest, 1), 'ipv4', shares);
  return manifest.sites.map(
    (site) => orders.filter(([first = '']) => site.relay.ipv4.includes(first)).length / orders.length,
  );
}

describe('spread', () => {
  test('equal weights take turns', () => {
    expect(firsts(three)).toStrictEqual([1 / 3, 1 / 3, 1 / 3]);
  });

  test('a site comes first as often as its weight says', () => {
    expect(firsts(weighted([2, 1, 1]))).toStrictEqual([0.5, 0.25, 0.25]);
    const [heavy = 0, light = 0] = firsts(weighted([100, 1, 1]));
    expect(heavy).toBeGreaterThan(0.9);
    expect(light).toBeGreaterThanOrEqual(0);
  });

  test('every order has all sites, the second of another provider', () => {
    const fleet = weighted([3, 1, 1], testManifest(['aws', 'aws-2', 'gcp']));
    for (const order of ordersOf(fleet, answerWithAll(fleet, 1), 'ipv4', NOBODY)) {
      const providers = order.map(
        (address) => fleet.sites.find((site) => site.relay.ipv4.includes(address))?.provider,
      );
      expect(order).toHaveLength(3);
      expect(providers[0]).not.toBe(providers[1]);
    }
  });
});

describe('priority', () => {
  const fleet: Manifest = { ...weighted([1, 3, 2]), steering: 'priority' };

  test('the heaviest site is always first, and a second provider stands behind it', () => {
    const orders = ordersOf(fleet, answerWithAll(fleet, 1), 'ipv4', NOBODY);
    const [gcp, hetzner] = [fleet.sites[1]?.relay.ipv4[0], fleet.sites[2]?.relay.ipv4[0]];
    expect(orders).toStrictEqual([[gcp, hetzner]]);
  });

  test('when it is gone the next one takes its place', () => {
    const answer = { ...answerWithAll(fleet, 2), targets: ['aws/ipv4', 'hetzner/ipv4'] as const };
    const [[first, second] = []] = ordersOf(fleet, answer, 'ipv4', NOBODY);
    expect([first, second]).toStrictEqual([fleet.sites[2]?.relay.ipv4[0], fleet.sites[0]?.relay.ipv4[0]]);
  });

  test('a site that is warming up stands behind those that are warm', () => {
    const [[first] = []] = ordersOf(fleet, answerWithAll(fleet, 1), 'ipv4', new Map([['gcp', 0.5]]));
    expect(first).toBe(fleet.sites[2]?.relay.ipv4[0]);
  });
});

test('a returning site begins with an eighth of its share and has all of it after warmUpMs', () => {
  const answer = { ...answerWithAll(three, 2), warming: [{ target: 'gcp/ipv4' as const, sinceMs: 1000 }] };
  const { warmUpMs } = three.health;
  const shareAfter = (ms: number): number | undefined => warmShares(answer, three, 1000 + ms).get('gcp');
  expect([0, 0.25, 0.5, 0.75, 1].map((part) => shareAfter(part * warmUpMs))).toStrictEqual([
    1 / 8,
    1 / 4,
    1 / 2,
    3 / 4,
    undefined,
  ]);
  const [aws = 0, gcp = 0, hetzner = 0] = firsts(three, warmShares(answer, three, 1000));
  expect(gcp).toBeLessThan(aws / 6);
  expect(aws + gcp + hetzner).toBe(1);
});

test('a warm-up of no time is none', () => {
  const none = testManifest(['aws', 'gcp'], { policy: { warmUpMs: 0 } });
  const answer = { ...answerWithAll(none, 2), warming: [{ target: 'gcp/ipv4' as const, sinceMs: 1000 }] };
  expect(warmShares(answer, none, 1000).size).toBe(0);
});
