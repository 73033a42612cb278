/**
 * A fleet whose certificates come from an authority: real relays, vantages and nameservers; Pebble as the authority,
 * which asks a validating unbound, which asks our nameservers, whichever it likes.
 *
 * The certificates live for a minute, so that they are renewed while the test looks: nobody who is connected is
 * cut off, and a nameserver that is dead keeps nobody from renewing.
 */
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createMailbox } from '../../client/mailbox.ts';
import { createNodeTransport } from '../../client/node-transport.ts';
import { createReceiver } from '../../client/receiver.ts';
import { pushFirst } from '../../fleet/local/first-push.ts';
import { createFleet, LOCAL_SITES, type LocalFleet, type LocalSiteName } from '../../fleet/local/fleet.ts';
import { askPrivate, metricValues } from '../../fleet/local/private-http.ts';
import { canonicalOrigin, siteOrigin } from '../../fleet/manifest/manifest.ts';
import { dsRecords } from '../../healthcheck/dns/zone-keys.ts';
import { systemClock } from '../../system/clock.ts';
import { connectPinned } from '../../system/pinned-tls.ts';
import { systemRandom } from '../../system/random.ts';
import { eventually } from '../support/eventually.ts';
import { type Pebble, startPebble } from '../support/pebble.ts';
import { startDaemon, suiteWith } from '../support/programs.ts';

const VALIDITY_SECONDS = 60;
const suite = suiteWith('certificates from an authority', ['pebble', 'unbound']);
let fleet: LocalFleet;
let pebble: Pebble;
const resources = new AsyncDisposableStack();
const ended: string[] = [];

async function prepare(): Promise<void> {
  fleet = await createFleet({
    store: 'memory',
    relayPort: undefined,
    programs: {},
    clock: systemClock,
    random: systemRandom,
    onUnexpectedEnd: (what) => ended.push(what),
    onVantageLine: () => undefined,
    settings: (site, part, directory) => settingsOf(site, part, directory),
  });
  resources.use(fleet);
  const resolver = `${fleet.hostAddress}@${fleet.ports.dns}`;
  const configuration = join(fleet.directory, 'unbound.conf');
  writeFileSync(configuration, unboundConfiguration(resolver));
  resources.use(startDaemon('unbound', ['-d', '-c', configuration]));
  pebble = await startPebble({
    directory: fleet.directory,
    dnsServer: resolver.replace('@', ':'),
    validitySeconds: VALIDITY_SECONDS,
  });
  resources.use(pebble);
  // The probes of the vantages are clients too.
  writeFileSync(join(fleet.directory, 'root.pem'), await pebble.root());
}

/** A resolver that validates from the zone's DS, and asks all nameservers of the fleet. */
function unboundConfiguration(resolver: string): string {
  const { zone, zoneKeys } = fleet.identities.manifest;
  const anchors = zoneKeys === undefined ? [] : dsRecords(zone, zoneKeys);
  const lines = [
    'server:',
    `  directory: "${fleet.directory}"`,
    `  interface: ${resolver}`,
    '  access-control: 0.0.0.0/0 allow',
    '  chroot: ""',
    '  username: ""',
    '  pidfile: ""',
    '  use-syslog: no',
    '  num-threads: 1',
    '  do-not-query-localhost: no',
    '  module-config: "validator iterator"',
    // An authority asks anew.
    '  cache-max-negative-ttl: 0',
    `  local-zone: "${zone}." transparent`,
    ...anchors.map((record) => `  trust-anchor: "${record}"`),
    'remote-control:',
    '  control-enable: no',
    'stub-zone:',
    `  name: "${zone}"`,
    ...fleet.sites.map(({ layout }) => `  stub-addr: ${layout.vantageAddress}@${fleet.ports.dns}`),
  ];
  return `${lines.join('\n')}\n`;
}

function settingsOf(site: string, part: string, directory: string): Readonly<Record<string, string>> {
  if (part === 'relay') {
    const own = join(directory, site);
    return { RELAY_TLS_CERTIFICATE: '', RELAY_TLS_KEY: '', RELAY_STATE_DIR: own };
  }
  if (part !== 'vantage') return {};
  return {
    VANTAGE_CA: join(directory, 'root.pem'),
    VANTAGE_ACME_DIRECTORY: pebble.directoryUrl,
    VANTAGE_ACME_CA: pebble.caPath,
    VANTAGE_ACME_CONTACT: 'mailto:ops@example.com',
  };
}

/** The serial number of what a relay shows for a name, after the chain and the name were verified. */
async function shownSerial(site: LocalSiteName, name: string): Promise<string> {
  const { relayAddress } = fleet.site(site).layout;
  const socket = connect({
    host: relayAddress,
    port: fleet.ports.relay,
    servername: name,
    ca: readFileSync(join(fleet.directory, 'root.pem'), 'utf8'),
  });
  try {
    await once(socket, 'secureConnect');
    return socket.getPeerX509Certificate()?.serialNumber ?? '';
  } finally {
    socket.destroy();
  }
}

async function serials(): Promise<readonly string[]> {
  return Promise.all(LOCAL_SITES.map((site) => shownSerial(site, fleet.identities.manifest.zone)));
}

async function metricsOf(site: LocalSiteName, part: 'relay' | 'vantage'): Promise<string> {
  const { relayAddress, vantageAddress } = fleet.site(site).layout;
  const host = part === 'relay' ? relayAddress : vantageAddress;
  return (await askPrivate(host, fleet.ports.private, '/metrics', 2000)).body;
}

async function attemptsOf(site: LocalSiteName): Promise<ReadonlyMap<string, number>> {
  return metricValues(await metricsOf(site, 'vantage'), 'vantage_certificate_attempts_total');
}

async function statusOf(site: LocalSiteName): Promise<{
  readonly certificate: { readonly accountUrl: string | null; readonly notAfterWallMs: number | null };
}> {
  const { vantageAddress } = fleet.site(site).layout;
  return JSON.parse((await askPrivate(vantageAddress, fleet.ports.private, '/status', 2000)).body) as never;
}

describe.skipIf(suite.skipped)(suite.title, { timeout: 180_000 }, () => {
  beforeAll(prepare);
  afterAll(async () => resources.disposeAsync());

  test('every site gets its own, for the zone and for its name, and is ready then', async () => {
    const signal = new AbortController().signal;
    await Promise.all([
      pushFirst(fleet.identities.signed, { clock: systemClock, withinMs: 30_000, signal }),
      ...fleet.sites.map(async (site) => {
        await site.start();
        await site.untilReady(90_000);
      }),
    ]);
    const { zone } = fleet.identities.manifest;
    for (const site of LOCAL_SITES) {
      expect(await shownSerial(site, zone)).toBe(await shownSerial(site, `${site}.${zone}`));
    }
    expect(new Set(await serials()).size).toBe(3);
    const accounts = await Promise.all(LOCAL_SITES.map(statusOf));
    const urls = new Set(accounts.map(({ certificate }) => certificate.accountUrl));
    expect([...urls].every((url) => url?.startsWith(new URL(pebble.directoryUrl).origin) === true)).toBe(
      true,
    );
    expect(urls.size).toBe(3);
  });

  test('all of them are renewed, and every recipient stays connected', async () => {
    const { manifest } = fleet.identities;
    const mailbox = await createMailbox(systemRandom);
    const transport = createNodeTransport({
      clock: systemClock,
      ca: await pebble.root(),
      connectTimeoutMs: 5000,
      keepAlive: false,
      lookup: async (name) =>
        fleet.sites
          .filter(({ layout }) => name === `${layout.name}.${manifest.zone}`)
          .map(({ layout }) => layout.relayAddress),
    });
    const receiver = createReceiver({
      transport,
      clock: systemClock,
      random: systemRandom,
      fleet: {
        canonicalOrigin: canonicalOrigin(manifest),
        sites: manifest.sites.map(({ name, provider }) => ({ origin: siteOrigin(manifest, name), provider })),
      },
      mailboxes: [mailbox],
    });
    const stopping = new AbortController();
    const receiving = (async () => {
      for await (const message of receiver.messages(stopping.signal)) expect(message).toBeUndefined();
    })();
    const sessions = async (what: string): Promise<number> => {
      const texts = await Promise.all(LOCAL_SITES.map((site) => metricsOf(site, 'relay')));
      const values = texts.flatMap((text) => [...metricValues(text, what).values()]);
      return values.reduce((sum, value) => sum + value, 0);
    };
    await eventually('recipients at two sites', async () =>
      (await sessions('relay_sessions_total')) >= 2 ? true : undefined,
    );
    const before = await serials();
    const opened = await sessions('relay_sessions_total');
    await eventually(
      'new certificates everywhere',
      async () => {
        const now = await serials();
        return now.every((serial, index) => serial !== before[index]) ? true : undefined;
      },
      60_000,
    );
    expect(await sessions('relay_sessions_closed_total')).toBe(0);
    expect(await sessions('relay_sessions_total')).toBe(opened);
    stopping.abort();
    await receiving;
    transport.close();
  });

  test('only relays of the own site are handed the key', async () => {
    const vantage = fleet.identities.manifest.sites.find(({ name }) => name === 'aws')?.vantage;
    const ask = async (site: string, file: 'peer' | 'vantage'): Promise<string> => {
      const identity = {
        certificatePem: readFileSync(fleet.identities.siteFile(site, `${file}.pem`), 'utf8'),
        keyPem: readFileSync(fleet.identities.siteFile(site, `${file}.key`), 'utf8'),
      };
      const destination = {
        host: fleet.site('aws').layout.vantageAddress,
        port: fleet.ports.votes,
        serverName: 'vantage',
        pins: vantage?.pins ?? [],
      };
      const socket = await connectPinned(destination, identity, 3000);
      socket.end('GET /v1/certificate HTTP/1.1\r\nHost: vantage\r\nConnection: close\r\n\r\n');
      let answer = '';
      for await (const chunk of socket as AsyncIterable<Buffer>) answer += chunk.toString();
      return answer;
    };
    expect(await ask('aws', 'peer')).toMatch(/^HTTP\/1\.1 200 [\s\S]*PRIVATE KEY/);
    expect(await ask('gcp', 'peer')).toMatch(/^HTTP\/1\.1 403 [\s\S]*another_site/);
    expect(await ask('gcp', 'vantage')).toMatch(/^HTTP\/1\.1 403 [\s\S]*key_not_pinned/);
    expect(await ask('gcp', 'peer')).not.toContain('PRIVATE KEY');
  });

  test('a dead nameserver keeps the other sites from nothing', async () => {
    const failures = async (): Promise<readonly string[]> => {
      const all = await Promise.all((['aws', 'hetzner'] as const).map(attemptsOf));
      return all.flatMap((one) => [...one].filter(([what]) => what !== 'issued').map(String));
    };
    const before = await failures();
    fleet.site('gcp').part('vantage').running().kill();
    const [aws = 0, hetzner = 0] = await Promise.all(
      (['aws', 'hetzner'] as const).map(async (site) => (await attemptsOf(site)).get('issued')),
    );
    await eventually(
      'both have renewed without it',
      async () => {
        const now = [await attemptsOf('aws'), await attemptsOf('hetzner')];
        const [a = 0, b = 0] = now.map((one) => one.get('issued'));
        return a > aws && b > hetzner ? true : undefined;
      },
      90_000,
    );
    expect(await failures()).toEqual(before);
    await eventually(
      'the site of the dead nameserver has an expired certificate, and shows it',
      async () => {
        const shown = await shownSerial('gcp', fleet.identities.manifest.zone).catch(String);
        return shown.includes('certificate has expired') ? true : undefined;
      },
      VALIDITY_SECONDS * 1000,
    );
    expect(ended).toEqual([]);
  });

  test('an authority that is gone changes nothing until certificates end; back again, it is asked at once', async () => {
    const before = await shownSerial('aws', fleet.identities.manifest.zone);
    await pebble.stop();
    await eventually(
      'the failure is counted',
      async () => (((await attemptsOf('aws')).get('unreachable') ?? 0) > 0 ? true : undefined),
      60_000,
    );
    expect(await shownSerial('aws', fleet.identities.manifest.zone)).toBe(before);
    await pebble.start();
    process.kill(fleet.site('aws').part('vantage').running().pid, 'SIGHUP');
    await eventually('a new certificate is issued', async () => {
      const { notAfterWallMs } = (await statusOf('aws')).certificate;
      return (notAfterWallMs ?? 0) > systemClock.wallMs() + (VALIDITY_SECONDS - 20) * 1000 ? true : undefined;
    });
  });
});
