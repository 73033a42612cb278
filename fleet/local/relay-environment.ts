/**
 * The settings of a relay of a local fleet: who it is, where it listens, and its keys. In one place, because the
 * fleet, the tests and the benchmark all start relays, and a setting that one of them forgot would be tested by none.
 */
import type { Identities } from './identities.ts';
import type { Ports, SiteLayout } from './layout.ts';

/**
 * Node's options for every relay, as `infra/boot.sh` has them too. V8's young generation grows to three times this, 12 MB, and
 * stays there: as Node is it grows to 48 MB with the first load, which no rate profits from (docs/performance.md).
 */
export const RELAY_NODE_OPTIONS = '--max-semi-space-size=4';

/**
 * Settings that every relay of a local fleet has; the store is the caller's choice. It stops when its standard input
 * ends, so that none outlives who started it, and gives nobody time to move elsewhere, because the whole fleet stops.
 */
export function relayEnvironment(
  layout: SiteLayout,
  ports: Pick<Ports, 'relay' | 'private' | 'votes'>,
  identities: Identities,
): Readonly<Record<string, string>> {
  return {
    NODE_OPTIONS: RELAY_NODE_OPTIONS,
    RELAY_SITE: layout.name,
    RELAY_MANIFEST: identities.manifestFile(layout.name, 'relay'),
    RELAY_MANIFEST_KEY: identities.manifestKey,
    RELAY_MANIFEST_VERSION_MIN: '1',
    RELAY_LISTEN: `${layout.relayAddress}:${ports.relay}`,
    RELAY_PRIVATE_LISTEN: `${layout.relayAddress}:${ports.private}`,
    RELAY_TLS_CERTIFICATE: identities.siteFile(layout.name, 'relay.pem'),
    RELAY_TLS_KEY: identities.siteFile(layout.name, 'relay.key'),
    RELAY_PEER_CERTIFICATE: identities.siteFile(layout.name, 'peer.pem'),
    RELAY_PEER_KEY: identities.siteFile(layout.name, 'peer.key'),
    RELAY_MANIFEST_FROM: `${layout.vantageAddress}:${ports.votes}`,
    RELAY_ENVIRONMENT: 'local',
    RELAY_MINTING: 'open',
    RELAY_STOP_WITH_STDIN: 'yes',
    RELAY_DRAIN_MS: '0',
  };
}
