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
  writeFileSync(configuration, unboundConfiguration(fleet, place), { mode: 0o600 });
  fleet.processes.start({
    name: UNBOUND,
    command: 'unbound',
    parameters: ['-d', '-c', configuration],
    // oxlint-disable-next-line node/no-process-env -- unbound is looked up on the PATH
    environment: { PATH: process.env['PATH'] ?? '' },
  });
  return place;
}

/** The defaults of unbound, but for what must differ on one machine and for the stub zone. */
function unboundConfiguration(fleet: LocalFleet, place: WatchedNameserver): string {
  const { zone } = fleet.identities.manifest;
  const lines = [
    'server:',
    `  directory: "${fleet.directory}"`,
    `  interface: ${place.address}@${place.port}`,
    '  access-control: 0.0.0.0/0 allow',
    '  chroot: ""',
    '  username: ""',
    '  pidfile: ""',
    '  use-syslog: no',
    '  num-threads: 1',
    '  do-not-query-localhost: no',
    '  module-config: "iterator"',
    // Names below .test do not exist unless somebody says so (RFC 6761).
    `  local-zone: "${zone}." transparent`,
    'remote-control:',
    '  control-enable: no',
    'stub-zone:',
    `  name: "${zone}"`,
    ...fleet.sites.map(({ layout }) => `  stub-addr: ${layout.vantageAddress}@${fleet.ports.dns}`),
  ];
  return `${lines.join('\n')}\n`;
}
