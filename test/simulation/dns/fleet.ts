/**
 * The fleets that worlds of the decision layer have: three sites mostly, and the shapes in which quorums are hard.
 */
import type { Manifest } from '../../../fleet/manifest/manifest.ts';
import type { Random } from '../../../system/random.ts';
import { testManifest } from '../../support/manifests.ts';

/** Quicker than the default, so that a world of minutes sees every part of the policy. */
const policy = {
  upAfter: 2,
  okAfter: 3,
  withdrawalWindowMs: 20_000,
  warmUpMs: 10_000,
} as const;

/** A fleet of one of five shapes. */
export function dnsFleetOf(random: Random): Manifest {
  const shape = random.fraction();
  const three = ['aws', 'gcp', 'hetzner'];
  if (shape < 0.5) return testManifest(three, { policy });
  if (shape < 0.65) return testManifest(three, { policy, ipv6: true });
  if (shape < 0.8) return testManifest([...three, 'gcp-2'], { policy });
  if (shape < 0.9) return testManifest(['aws', 'gcp'], { policy, witnesses: ['ovh'] });
  return {
    ...testManifest(['aws', 'gcp'], { policy }),
    externalCanaries: [{ address: '203.0.113.9', port: 443, name: 'canary.example.net' }],
  };
}
