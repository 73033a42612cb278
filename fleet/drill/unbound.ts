/**
 * A caching resolver that nobody here wrote: an unbound that asks the three nameservers of the fleet and obeys TTLs.
 * How long it goes on giving out a site that is gone is how long the users of a well-behaved resolver wait.
 */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LocalFleet } from '../local/fleet.ts';
import type { WatchedNameserver } from './nameserver-watch.ts';

/** What the watch calls it. */
export const UNBOUND = 'unbound';

/** Starts it, when it is on the PATH, and gives where to ask it. */
export function startUnbound(fleet: LocalFleet): WatchedNameserver | undefined {
  if (spawnSync('unbound', ['-V'], { stdio: 'ignore' }).status !== 0) return undefined;
  const place = { site: UNBOUND, address: fleet.hostAddress, port: fleet.ports.dns };
  const configuration = join(fleet.directory, 'unbound.conf');
  const nameservers = fleet.sites.map(({ layout }) => ({
    address: layout.vantageAddress,
    port: fleet.ports.dns,
  }));
  const { directory, identities } = fleet;
  const { zone } = identities.manifest;
  writeFileSync(
    configuration,
    unboundConfiguration({ directory, at: place, zone, nameservers, dsRecords: [] }),
    { mode: 0o600 },
  );
  fleet.processes.start({
    name: UNBOUND,
    command: 'unbound',
    parameters: ['-d', '-c', configuration],
    // oxlint-disable-next-line node/no-process-env -- unbound is looked up on the PATH
    environment: { PATH: process.env['PATH'] ?? '' },
  });
  return place;
}

export interface ResolverPlan {
  readonly directory: string;
  readonly at: DnsPlace;
  readonly zone: string;
  /** Whom it asks about the zone. */
  readonly nameservers: readonly DnsPlace[];
  /** In presentation format; it validates from them. Empty: it does not validate. */
  readonly dsRecords: readonly string[];
}

interface DnsPlace {
  readonly address: string;
  readonly port: number;
}

/** The defaults of unbound, but for what must differ on one machine and for the stub zone. */
export function unboundConfiguration({ directory, at, zone, nameservers, dsRecords }: ResolverPlan): string {
  const lines = [
    'server:',
    `  directory: "${directory}"`,
    `  interface: ${at.address}@${at.port}`,
    '  access-control: 0.0.0.0/0 allow',
    '  chroot: ""',
    '  username: ""',
    '  pidfile: ""',
    '  use-syslog: no',
    '  num-threads: 1',
    '  do-not-query-localhost: no',
    `  module-config: "${dsRecords.length === 0 ? '' : 'validator '}iterator"`,
    // Names below .test do not exist unless somebody says so (RFC 6761).
    `  local-zone: "${zone}." transparent`,
    ...dsRecords.map((record) => `  trust-anchor: "${record}"`),
    'remote-control:',
    '  control-enable: no',
    'stub-zone:',
    `  name: "${zone}"`,
    ...nameservers.map(({ address, port }) => `  stub-addr: ${address}@${port}`),
  ];
  return `${lines.join('\n')}\n`;
}
