/**
 * Manifests for tests of the health checker: as many sites as named, each at the provider before the hyphen of its
 * name, with addresses that are well formed and lead nowhere.
 */
import {
  DEFAULT_HEALTH_POLICY,
  type HealthPolicy,
  type Manifest,
  NO_OVERRIDES,
  WEIGHT_DEFAULT,
} from '../../fleet/manifest/manifest.ts';

export interface TestManifestOptions {
  readonly policy?: Partial<HealthPolicy>;
  /** Publish IPv6 addresses too. */
  readonly ipv6?: boolean;
  /** IPv4 addresses of each site's relays. */
  readonly addresses?: number;
  /** Names of witnesses. */
  readonly witnesses?: readonly string[];
}

/** `aws` and `aws-2` are two sites of the provider `aws`. */
export function testManifest(names: readonly string[], options: TestManifestOptions = {}): Manifest {
  const { policy = {}, ipv6 = false, addresses = 1, witnesses = [] } = options;
  return {
    format: 1,
    version: 7,
    zone: 'relay.example.com',
    port: 443,
    health: { ...DEFAULT_HEALTH_POLICY, ...policy },
    steering: 'spread',
    externalCanaries: [],
    overrides: NO_OVERRIDES,
    witnesses: witnesses.map((name, index) => ({
      name,
      provider: name.split('-')[0] ?? name,
      vantage: {
        ipv4: `203.0.113.${index + 1}`,
        ipv6: null,
        votePort: 8443,
        pins: [`vantage-pin-${name}`],
        voteKey: `vote-key-${name}`,
      },
    })),
    sites: names.map((name, index) => ({
      name,
      provider: name.split('-')[0] ?? name,
      weight: WEIGHT_DEFAULT,
      relay: {
        ipv4: Array.from({ length: addresses }, (_, host) => `192.0.2.${index * 10 + host + 1}`),
        ipv6: ipv6 ? [`2001:db8::${index + 1}`] : [],
        pins: [`relay-pin-${name}`],
      },
      vantage: {
        ipv4: `198.51.100.${index + 1}`,
        ipv6: null,
        dnsPort: 53,
        votePort: 8443,
        pins: [`vantage-pin-${name}`],
        voteKey: `vote-key-${name}`,
      },
    })),
  };
}
