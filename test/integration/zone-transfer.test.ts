/**
 * Secondaries that nobody here wrote: Knot and NSD take the signed zone from a nameserver of ours, learn of a changed
 * answer by NOTIFY, and answer like it. `dig` transfers the zone with the key and not without, and `ldns-verify-zone`
 * checks it as a whole.
 */
import { createPrivateKey } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { makeZoneKeys } from '../../fleet/zone-keys.ts';
import { TYPE } from '../../healthcheck/dns/message.ts';
import { parseTsigKey } from '../../healthcheck/dns/tsig.ts';
import { ask } from '../support/dns-client.ts';
import { eventually } from '../support/eventually.ts';
import { testManifest } from '../support/manifests.ts';
import { startTestNameserver, type TestNameserver } from '../support/nameserver.ts';
import { outputOf, startDaemon, suiteWith } from '../support/programs.ts';

const ZONE = 'relay.example.com';
const PRIMARY = { address: '127.46.0.1', port: 5310 };
const SECONDARY = { address: '127.46.0.2', port: 5311 };
const SECRET = Buffer.alloc(32, 'archipelago').toString('base64');
const KEY = `hmac-sha256:transfer:${SECRET}`;
const SITES = ['aws', 'gcp', 'hetzner'] as const;

let resources: AsyncDisposableStack;
let directory: string;
let primary: TestNameserver;

beforeEach(async () => {
  resources = new AsyncDisposableStack();
  directory = await mkdtemp(join(tmpdir(), 'transfer-'));
  resources.defer(async () => rm(directory, { recursive: true, force: true }));
  const made = makeZoneKeys(ZONE, SITES, Date.now());
  const key = parseTsigKey(KEY);
  if (key === undefined) throw new Error('no key');
  primary = await startTestNameserver({
    manifest: {
      ...testManifest(SITES, { ipv6: true }),
      zoneKeys: made.zoneKeys,
      records: [{ name: '_dmarc.mail', type: 'TXT', ttlSeconds: 60, data: ['v=DMARC1; p=reject'] }],
    },
    site: 'aws',
    ...PRIMARY,
    zoneKey: createPrivateKey(made.keyPem.get('aws') ?? ''),
    transferKeys: [key],
    secondaries: [{ host: SECONDARY.address, port: SECONDARY.port }],
  });
  resources.use(primary);
});

afterEach(async () => resources.disposeAsync());

async function dig(...parameters: string[]): Promise<string> {
  return outputOf('dig', [
    `@${PRIMARY.address}`,
    '-p',
    String(PRIMARY.port),
    '+tries=1',
    '+time=5',
    ...parameters,
  ]);
}

const withDig = suiteWith('dig and ldns-verify-zone', ['dig', 'ldns-verify-zone']);
describe.skipIf(withDig.skipped)(withDig.title, () => {
  test('the transferred zone is whole and every signature in it holds', async () => {
    const zone = await dig('-y', KEY, 'AXFR', ZONE, '+onesoa', '+nocomments', '+nocmd', '+nostats');
    expect(zone).toMatch(/relay\.example\.com\.\s+5\s+IN\s+A\s+192\.0\.2\.1/);
    expect(zone).not.toContain('Transfer failed');
    const path = join(directory, 'zone');
    // TSIG records stand in dig's output as comments do not.
    await writeFile(
      path,
      zone
        .split('\n')
        .filter((line) => !/\bTSIG\b/.test(line))
        .join('\n'),
    );
    expect(await outputOf('ldns-verify-zone', [path])).toContain('Zone is verified and complete');
  });

  test('without the key, with another or with another secret there is no transfer', async () => {
    const secret = Buffer.alloc(32, 'x').toString('base64');
    expect(await dig('AXFR', ZONE)).toContain('Transfer failed');
    expect(await dig('-y', `hmac-sha256:other:${SECRET}`, 'AXFR', ZONE)).toMatch(/BADKEY/);
    expect(await dig('-y', `hmac-sha256:transfer:${secret}`, 'AXFR', ZONE)).toMatch(/BADSIG/);
    expect(await dig('-y', KEY, 'AXFR', 'example.org')).toContain('Transfer failed');
  });

  test('an incremental transfer gives the whole zone, or the SOA when nothing is new', async () => {
    const serial = / (\d+) 60 15 /.exec(await dig('-y', KEY, 'SOA', ZONE, '+short'))?.[1];
    expect(Number(serial)).toBeGreaterThan(1_700_000_000);
    expect(await dig('-y', KEY, `IXFR=${Number(serial) - 1}`, ZONE, '+tcp')).toMatch(
      /XFR size: \d{2,} records/,
    );
    expect(await dig('-y', KEY, `IXFR=${serial}`, ZONE, '+tcp')).toContain('XFR size: 1 records');
  });
});

async function addresses(): Promise<string> {
  const response = await ask(SECONDARY, ZONE, TYPE.A).catch(() => undefined);
  const answers = response?.authoritative === true ? response.answers : [];
  return answers
    .flatMap((record) => (record.type === 'A' ? [record.address] : []))
    .toSorted()
    .join();
}

/** The secondary takes the zone, then a new answer, each within moments. */
async function follows(): Promise<void> {
  await eventually('the secondary has the zone', async () =>
    (await addresses()) === '192.0.2.1,192.0.2.11,192.0.2.21' ? true : undefined,
  );
  primary.answer(['aws', 'hetzner'], 2);
  await eventually('the secondary has the new answer', async () =>
    (await addresses()) === '192.0.2.1,192.0.2.21' ? true : undefined,
  );
  const said = await outputOf('dig', [
    `@${SECONDARY.address}`,
    '-p',
    String(SECONDARY.port),
    '+dnssec',
    '+norec',
    'nobody.relay.example.com',
  ]);
  expect(said).toContain('status: NXDOMAIN');
  expect(said.match(/\sRRSIG\sNSEC\s/g)?.length).toBeGreaterThan(0);
}

const withKnot = suiteWith('Knot', ['knotd', 'dig']);
describe.skipIf(withKnot.skipped)(withKnot.title, () => {
  test('is a secondary', async () => {
    const path = join(directory, 'knot.conf');
    await mkdir(join(directory, 'run'));
    const lines = [
      'server:',
      `    rundir: "${directory}/run"`,
      `    listen: ${SECONDARY.address}@${SECONDARY.port}`,
      'log:',
      '  - target: stdout',
      '    any: info',
      'database:',
      `    storage: "${directory}"`,
      'key:',
      '  - id: transfer',
      '    algorithm: hmac-sha256',
      `    secret: ${SECRET}`,
      'remote:',
      '  - id: primary',
      `    address: ${PRIMARY.address}@${PRIMARY.port}`,
      '    key: transfer',
      'acl:',
      '  - id: notify',
      `    address: ${PRIMARY.address}`,
      '    key: transfer',
      '    action: notify',
      'zone:',
      `  - domain: ${ZONE}`,
      `    storage: "${directory}"`,
      '    master: primary',
      '    acl: notify',
    ];
    await writeFile(path, `${lines.join('\n')}\n`);
    resources.use(startDaemon('knotd', ['-c', path]));
    await follows();
  }, 60_000);
});

const withNsd = suiteWith('NSD', ['nsd', 'dig']);
describe.skipIf(withNsd.skipped)(withNsd.title, () => {
  test('is a secondary', async () => {
    const path = join(directory, 'nsd.conf');
    const lines = [
      'server:',
      `  ip-address: ${SECONDARY.address}@${SECONDARY.port}`,
      '  server-count: 1',
      '  username: ""',
      '  chroot: ""',
      `  zonesdir: "${directory}"`,
      '  database: ""',
      `  pidfile: "${directory}/nsd.pid"`,
      `  xfrdfile: "${directory}/xfrd.state"`,
      `  xfrdir: "${directory}"`,
      `  zonelistfile: "${directory}/zone.list"`,
      '  xfrd-reload-timeout: 1',
      'remote-control:',
      '  control-enable: no',
      'key:',
      '  name: "transfer"',
      '  algorithm: hmac-sha256',
      `  secret: "${SECRET}"`,
      'zone:',
      `  name: "${ZONE}"`,
      `  zonefile: "${directory}/secondary.zone"`,
      `  allow-notify: ${PRIMARY.address} transfer`,
      `  request-xfr: ${PRIMARY.address}@${PRIMARY.port} transfer`,
    ];
    await writeFile(path, `${lines.join('\n')}\n`);
    resources.use(startDaemon('nsd', ['-d', '-c', path]));
    await follows();
  }, 60_000);
});
