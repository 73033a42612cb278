/**
 * What becomes of certificates that come from an authority: real relays, vantages and nameservers of three sites;
 * Pebble as the authority. How the first ones come is in first-deployment.test.ts.
 *
 * The certificates live for less than a minute, so that they are renewed while the test looks: nobody who is connected is
 * cut off, and a nameserver that is dead keeps nobody from renewing.
 */
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createMailbox } from '../../client/mailbox.ts';
import { createNodeTransport } from '../../client/node-transport.ts';
import { createReceiver } from '../../client/receiver.ts';
import { metricValues } from '../../fleet/local/private-http.ts';
import type { WholeStatus } from '../../healthcheck/status.ts';
import { systemClock } from '../../system/clock.ts';
import { connectPinned, pinOf } from '../../system/pinned-tls.ts';
import { systemRandom } from '../../system/random.ts';
import { AUTHORITY_PROGRAMS, startAuthority, type TestAuthority } from '../support/certificate-authority.ts';
import { createDeployment, type Deployment, PATIENT_POLICY } from '../support/deployment.ts';
import { eventually } from '../support/eventually.ts';
import { suiteWith } from '../support/programs.ts';

/** Renewal begins at three fifths of it; what is left is for a machine that is busy. */
const VALIDITY_SECONDS = 40;
const SITES = ['aws', 'gcp', 'hetzner'];
const suite = suiteWith('certificates from an authority', AUTHORITY_PROGRAMS);
const resources = new AsyncDisposableStack();
let fleet: Deployment;
let authority: TestAuthority;

async function prepare(): Promise<void> {
  fleet = resources.use(await createDeployment({ sites: SITES, policy: PATIENT_POLICY }));
  authority = resources.use(await startAuthority(fleet, VALIDITY_SECONDS));
  const run = async (...words: readonly string[]): Promise<string> => {
    const { code, text } = await fleet.operators.run(...words);
    if (code !== 0) throw new Error(text);
    return text;
  };
  for (const site of SITES) {
    await fleet.addSite(site);
    fleet.startVantage(site, authority.vantageSettings);
    fleet.startRelay(site);
  }
  await fleet.compose(SITES);
  await run('sign', '--yes');
  await authority.delegate(await run('delegation'));
  await fleet.until('the manifest is everywhere', async () => {
    const { code } = await fleet.operators.run('push');
    return code === 0;
  });
  await fleet.untilReady(SITES);
}

/** The serial number of what a relay shows for a name, after the chain and the name were verified. */
async function shownSerial(site: string, name: string = fleet.zone): Promise<string> {
  const socket = connect({
    host: fleet.layout(site).relayAddress,
    port: fleet.ports.relay,
    servername: name,
    ca: authority.rootPem,
  });
  try {
    await once(socket, 'secureConnect');
    return socket.getPeerX509Certificate()?.serialNumber ?? '';
  } finally {
    socket.destroy();
  }
}

async function serials(): Promise<readonly string[]> {
  return Promise.all(SITES.map((site) => shownSerial(site)));
}

async function metricsOf(site: string, part: 'relay' | 'vantage'): Promise<string> {
  return (await fleet.ask(site, part, '/metrics'))?.body ?? '';
}

async function attemptsOf(site: string): Promise<ReadonlyMap<string, number>> {
  return metricValues(await metricsOf(site, 'vantage'), 'vantage_certificate_attempts_total');
}

async function issuedTo(site: string): Promise<number> {
  return (await attemptsOf(site)).get('issued') ?? 0;
}

describe.skipIf(suite.skipped)(suite.title, { timeout: 120_000 }, () => {
  beforeAll(prepare, 90_000);
  afterAll(async () => resources.disposeAsync());

  test('all of them are renewed, and every recipient stays connected', async () => {
    const origins = SITES.map((site) => ({
      site,
      name: `${site}.${fleet.zone}`,
      origin: `https://${site}.${fleet.zone}:${fleet.ports.relay}`,
    }));
    const transport = createNodeTransport({
      clock: systemClock,
      ca: authority.rootPem,
      connectTimeoutMs: 5000,
      keepAlive: false,
      lookup: async (asked) => {
        const found = origins.filter(({ name }) => name === asked);
        return await Promise.resolve(found.map(({ site }) => fleet.layout(site).relayAddress));
      },
    });
    const receiver = createReceiver({
      transport,
      clock: systemClock,
      random: systemRandom,
      fleet: {
        canonicalOrigin: `https://${fleet.zone}:${fleet.ports.relay}`,
        sites: origins.map(({ site, origin }) => ({ origin, provider: site })),
      },
      mailboxes: [await createMailbox(systemRandom)],
    });
    const stopping = new AbortController();
    const receiving = (async () => {
      for await (const message of receiver.messages(stopping.signal)) expect(message).toBeUndefined();
    })();
    const sessions = async (what: string): Promise<number> => {
      const texts = await Promise.all(SITES.map((site) => metricsOf(site, 'relay')));
      const values = texts.flatMap((text) => [...metricValues(text, what).values()]);
      return values.reduce((sum, value) => sum + value, 0);
    };
    await eventually('recipients at two sites', async () =>
      (await sessions('relay_sessions_total')) >= 2 ? true : undefined,
    );
    const before = await serials();
    const opened = await sessions('relay_sessions_total');
    await fleet.until('new certificates everywhere', async () => {
      const now = await serials().catch(() => []);
      return now.length === SITES.length && now.every((serial, index) => serial !== before[index]);
    });
    for (const site of SITES) {
      expect(await shownSerial(site)).toBe(await shownSerial(site, `${site}.${fleet.zone}`));
    }
    expect(new Set(await serials()).size).toBe(3);
    expect(await sessions('relay_sessions_closed_total')).toBe(0);
    expect(await sessions('relay_sessions_total')).toBe(opened);
    stopping.abort();
    await receiving;
    transport.close();
  });

  test('only relays of the own site are handed the key', async () => {
    const read = (site: string, role: 'relay' | 'nameserver', file: string): string =>
      readFileSync(fleet.secretFile(site, role, file), 'utf8');
    const certificate = new X509Certificate(read('aws', 'nameserver', 'tls-certificate'));
    const askAt = async (site: string, role: 'relay' | 'nameserver'): Promise<string> => {
      const name = role === 'relay' ? 'peer' : 'tls';
      const identity = {
        certificatePem: read(site, role, `${name}-certificate`),
        keyPem: read(site, role, `${name}-key`),
      };
      const destination = {
        host: fleet.layout('aws').vantageAddress,
        port: fleet.ports.votes,
        serverName: 'vantage',
        pins: [pinOf(certificate.publicKey.export({ type: 'spki', format: 'der' }))],
      };
      const socket = await connectPinned(destination, identity, 3000);
      socket.end('GET /v1/certificate HTTP/1.1\r\nHost: vantage\r\nConnection: close\r\n\r\n');
      let answer = '';
      for await (const chunk of socket as AsyncIterable<Buffer>) answer += chunk.toString();
      return answer;
    };
    expect(await askAt('aws', 'relay')).toMatch(/^HTTP\/1\.1 200 [\s\S]*PRIVATE KEY/);
    expect(await askAt('gcp', 'relay')).toMatch(/^HTTP\/1\.1 403 [\s\S]*another_site/);
    expect(await askAt('gcp', 'nameserver')).toMatch(/^HTTP\/1\.1 403 [\s\S]*key_not_pinned/);
    expect(await askAt('gcp', 'relay')).not.toContain('PRIVATE KEY');
  });

  test('a dead nameserver keeps the other sites from nothing, and its own site says that it ends', async () => {
    const others = ['aws', 'hetzner'];
    const failures = async (): Promise<readonly string[]> => {
      const all = await Promise.all(others.map(attemptsOf));
      return all.flatMap((one) => [...one].filter(([what]) => what !== 'issued').map(String));
    };
    const before = await failures();
    await fleet.kill('gcp-vantage');
    const issued = await Promise.all(others.map(issuedTo));
    await fleet.until('both have renewed without it', async () => {
      const now = await Promise.all(others.map(issuedTo));
      return now.every((count, index) => count > (issued[index] ?? 0));
    });
    expect(await failures()).toEqual(before);
    await fleet.until('the site of the dead nameserver has an expired certificate, and shows it', async () =>
      (await shownSerial('gcp').catch(String)).includes('certificate has expired'),
    );
    const { code, text } = await fleet.operators.run('status', '--as', 'alice');
    expect(code).toBe(1);
    expect(text).toMatch(/^gcp +EXPIRED \d+ s ago +its vantage does not answer$/m);
    expect(text).toMatch(/^aws +(\d+ s left|ENDS in \d+ s) +https:/m);
  });

  test('an authority that is gone changes nothing until certificates end; back again, it is asked at once', async () => {
    const before = await shownSerial('aws');
    await authority.pebble.stop();
    await fleet.until(
      'the failure is counted',
      async () => ((await attemptsOf('aws')).get('unreachable') ?? 0) > 0,
    );
    expect(await shownSerial('aws')).toBe(before);
    expect((await fleet.operators.run('status', '--as', 'alice')).text).toMatch(
      /^aws: \d+ attempts?( in a row)? gave NO NEW CERTIFICATE, [\s\S]*\n {2}unreachable: /m,
    );
    await authority.pebble.start();
    process.kill(fleet.pid('aws-vantage'), 'SIGHUP');
    await fleet.until('a new certificate is issued', async () => {
      const status = JSON.parse((await fleet.ask('aws', 'vantage', '/status'))?.body ?? '{}') as WholeStatus;
      const ends = status.certificate?.notAfterWallMs ?? 0;
      return ends > systemClock.wallMs() + (VALIDITY_SECONDS - 10) * 1000;
    });
  });
});
