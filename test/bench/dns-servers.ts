/**
 * The nameservers that `npm run bench:dns` compares: ours, and gdnsd, Knot and NSD as Debian packages them, each with
 * one worker, the same zone, cookies, and a budget of responses that is accounted for and never reached.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Manifest } from '../../fleet/manifest/manifest.ts';
import { makeZoneKeys } from '../../fleet/zone-keys.ts';
import { testManifest } from '../support/manifests.ts';
import type { DnsProcessOptions } from './dns-process.ts';

export const ZONE = 'relay.example.com';
const SITES = ['aws', 'gcp', 'hetzner'] as const;
/** More than any server here can answer. */
const RESPONSES_PER_SECOND = 1_000_000;

export interface DnsServerCommand {
  readonly name: string;
  readonly signed: boolean;
  readonly program: string;
  readonly parameters: readonly string[];
}

/** Where a server has to listen, and a directory that it may fill. */
export interface DnsServerPlace {
  readonly address: string;
  readonly port: number;
  readonly directory: string;
}

export interface DnsServerKind {
  readonly name: string;
  /** Looked for before it is measured. */
  readonly program: string;
  /** Writes its configuration, and says how to start it in the foreground. */
  readonly prepare: (place: DnsServerPlace) => DnsServerCommand;
}

const manifest: Manifest = {
  ...testManifest(SITES, { ipv6: true }),
  zone: ZONE,
  records: [{ name: '', type: 'CAA', ttlSeconds: 3600, data: ['0 issue "ca.example"'] }],
};

/** Whether a program can be found, also where Debian puts daemons. */
export function isInstalled(program: string): boolean {
  const path = `${process.env['PATH'] ?? ''}:/usr/sbin`;
  return spawnSync('sh', ['-c', `command -v ${program}`], { env: { PATH: path } }).status === 0;
}

function ours(name: string, signed: boolean, dnsThreads: number): DnsServerKind {
  return {
    name,
    program: process.execPath,
    prepare: ({ address, port }) => {
      const made = makeZoneKeys(ZONE, SITES, Date.now());
      const options: DnsProcessOptions = {
        manifest: signed ? { ...manifest, zoneKeys: made.zoneKeys } : manifest,
        site: 'aws',
        address,
        port,
        zoneKeyPem: signed ? (made.keyPem.get('aws') ?? null) : null,
        responsesPerSecond: RESPONSES_PER_SECOND,
        dnsThreads,
      };
      const parameters = [join(import.meta.dirname, 'dns-process.ts'), JSON.stringify(options)];
      return { name, signed, program: process.execPath, parameters };
    },
  };
}

/** The zone as a file; the same records as ours has. */
function zoneFile(): string {
  const sites = SITES.flatMap((site, index) => [
    `@ 60 IN A 192.0.2.${index * 10 + 1}`,
    `@ 60 IN AAAA 2001:db8::${index + 1}`,
    `@ 3600 IN NS ns-${site}`,
    `${site} 300 IN A 192.0.2.${index * 10 + 1}`,
    `${site} 300 IN AAAA 2001:db8::${index + 1}`,
    `ns-${site} 3600 IN A 198.51.100.${index + 1}`,
  ]);
  const soa = '@ 3600 IN SOA ns-aws hostmaster 1 3600 600 604800 5';
  return `$ORIGIN ${ZONE}.\n${[soa, ...sites, '@ 3600 IN CAA 0 issue "ca.example"'].join('\n')}\n`;
}

const gdnsd: DnsServerKind = {
  name: 'gdnsd (not signed)',
  program: 'gdnsd',
  prepare: ({ address, port, directory }) => {
    mkdirSync(join(directory, 'zones'), { recursive: true });
    writeFileSync(
      join(directory, 'zones', ZONE),
      zoneFile().replace(/^.*CAA.*$/m, '@ 3600 IN TYPE257 \\# 4 00000000'),
    );
    const options = [
      `listen => [ ${address}:${port} ]`,
      'udp_threads => 1',
      'tcp_threads => 1',
      `run_dir => "${directory}"`,
      `state_dir => "${directory}"`,
    ];
    writeFileSync(join(directory, 'config'), `options => {\n${options.join('\n')}\n}\n`);
    return { name: gdnsd.name, signed: false, program: 'gdnsd', parameters: ['-c', directory, 'start'] };
  },
};

function knot(signed: boolean): DnsServerKind {
  const name = signed ? 'Knot, signed' : 'Knot';
  return {
    name,
    program: 'knotd',
    prepare: ({ address, port, directory }) => {
      writeFileSync(join(directory, 'zone'), zoneFile());
      const lines = [
        'server:',
        `    rundir: "${directory}"`,
        `    listen: ${address}@${port}`,
        '    udp-workers: 1',
        '    tcp-workers: 1',
        '    background-workers: 1',
        'database:',
        `    storage: "${directory}"`,
        'mod-cookies:',
        '  - id: default',
        'mod-rrl:',
        '  - id: default',
        `    rate-limit: ${RESPONSES_PER_SECOND}`,
        'policy:',
        '  - id: default',
        '    algorithm: ecdsap256sha256',
        '    single-type-signing: on',
        'zone:',
        `  - domain: ${ZONE}`,
        `    storage: "${directory}"`,
        '    file: zone',
        '    zonefile-sync: -1',
        '    module: [mod-cookies/default, mod-rrl/default]',
        ...(signed ? ['    dnssec-signing: on', '    dnssec-policy: default'] : []),
      ];
      const path = join(directory, 'knot.conf');
      writeFileSync(path, `${lines.join('\n')}\n`);
      return { name, signed, program: 'knotd', parameters: ['-c', path] };
    },
  };
}

const nsd: DnsServerKind = {
  name: 'NSD (not signed)',
  program: 'nsd',
  prepare: ({ address, port, directory }) => {
    writeFileSync(join(directory, 'zone'), zoneFile());
    const lines = [
      'server:',
      `  ip-address: ${address}@${port}`,
      '  server-count: 1',
      '  username: ""',
      '  chroot: ""',
      `  zonesdir: "${directory}"`,
      '  database: ""',
      `  pidfile: "${directory}/pid"`,
      `  xfrdfile: "${directory}/xfrd"`,
      `  xfrdir: "${directory}"`,
      `  zonelistfile: "${directory}/list"`,
      '  answer-cookie: yes',
      '  cookie-secret: 00112233445566778899aabbccddeeff',
      `  rrl-ratelimit: ${RESPONSES_PER_SECOND}`,
      'remote-control:',
      '  control-enable: no',
      'zone:',
      `  name: "${ZONE}"`,
      '  zonefile: "zone"',
    ];
    const path = join(directory, 'nsd.conf');
    writeFileSync(path, `${lines.join('\n')}\n`);
    return { name: nsd.name, signed: false, program: 'nsd', parameters: ['-d', '-c', path] };
  },
};

/** In the order of the report; the first four are ours. */
export const DNS_SERVERS: readonly DnsServerKind[] = [
  ours('ours', false, 1),
  ours('ours, signed', true, 1),
  ours('ours, signed, all', true, availableParallelism()),
  ours('ours, signed, socket', true, 0),
  gdnsd,
  knot(false),
  knot(true),
  nsd,
];
