/**
 * A relay process whose operators replace its certificate: nobody is cut off, and the next handshake sees the new one.
 */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { connect } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { issueServerCertificate, makeAuthority } from '../../fleet/certificates.ts';
import { systemClock } from '../../system/clock.ts';
import { systemRandom } from '../../system/random.ts';
import { eventually } from '../support/eventually.ts';
import { createRelaySites, type RelaySites } from '../support/relay-sites.ts';

const NAMES = ['relay.test', 'aws.relay.test'];
let sites: RelaySites;
let endpoint: { readonly host: string; readonly port: number };

beforeAll(async () => {
  sites = await createRelaySites();
  endpoint = { host: sites.layouts[0]?.relayAddress ?? '', port: sites.ports.relay };
});
afterAll(async () => sites[Symbol.asyncDispose]());

/** The serial number of the certificate that a new handshake shows; undefined when there is none. */
async function shownSerial(): Promise<string | undefined> {
  const socket = connect({ ...endpoint, servername: NAMES[1], rejectUnauthorized: false });
  try {
    await once(socket, 'secureConnect');
    return socket.getPeerX509Certificate()?.serialNumber;
  } catch {
    return undefined;
  } finally {
    socket.destroy();
  }
}

/** The status of a request over a connection of this agent, and which local port that connection has. */
async function ask(agent: Agent): Promise<{ readonly status: number; readonly port: number | undefined }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; port: number | undefined }>();
  request({ ...endpoint, agent, path: '/readyz', servername: NAMES[1], rejectUnauthorized: false })
    .once('response', (response) => {
      const port = response.socket.localPort;
      response.resume().once('end', () => resolve({ status: response.statusCode ?? 0, port }));
    })
    .once('error', reject)
    .end();
  return promise;
}

async function replaceFiles(names: readonly string[]): Promise<void> {
  const context = { wallMs: systemClock.wallMs(), random: systemRandom };
  const { certificatePem, keyPem } = await issueServerCertificate(
    context,
    await makeAuthority(context),
    names,
  );
  writeFileSync(sites.identities.siteFile('aws', 'relay.pem'), certificatePem);
  writeFileSync(sites.identities.siteFile('aws', 'relay.key'), keyPem);
}

test('the certificate is replaced at SIGHUP, or by itself, and no connection is cut', async () => {
  sites.start('aws');
  const first = await eventually('the relay shows a certificate', shownSerial);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const before = await ask(agent);

  await replaceFiles(NAMES);
  sites.signal('aws', 'SIGHUP');
  const second = await eventually('the new one is shown', async () => {
    const serial = await shownSerial();
    return serial === undefined || serial === first ? undefined : serial;
  });
  expect(await ask(agent)).toEqual(before);

  await replaceFiles(['elsewhere.test']);
  sites.signal('aws', 'SIGHUP');
  await eventually('the wrong one is refused by name', () =>
    sites.output('aws').includes('not valid for relay.test and aws.relay.test') ? true : undefined,
  );
  expect(await shownSerial()).toBe(second);

  await replaceFiles(NAMES);
  await eventually(
    'without a signal too',
    async () => ((await shownSerial()) === second ? undefined : true),
    30_000,
  );
  expect(await ask(agent)).toEqual(before);
  agent.destroy();
  const metrics = await sites.metrics('aws');
  expect(metrics).toMatch(/relay_certificate_looks_total\{outcome="taken"\} 3\n/);
  expect(metrics).toMatch(/relay_certificate_seconds_left 60\d{4}\n/);
}, 60_000);

test('a relay that gets its certificate from a vantage that is away is alive and not ready', async () => {
  sites.start('gcp', { RELAY_TLS_CERTIFICATE: '', RELAY_TLS_KEY: '', RELAY_STATE_DIR: sites.directory });
  await sites.untilStatus('gcp', 503);
  await eventually('says why', () =>
    sites.output('gcp').includes('"fault":"unreachable"') ? true : undefined,
  );
  expect(await sites.metrics('gcp')).toContain('relay_certificate_seconds_left 0\n');
});

test('half of a pair, a broken pair or none and no place for one is a fault that ends the process', async () => {
  const key = sites.identities.siteFile('gcp', 'relay.key');
  for (const [environment, fault] of [
    [{ RELAY_TLS_KEY: '' }, 'RELAY_TLS_CERTIFICATE and RELAY_TLS_KEY: expected both of them, or neither'],
    [{ RELAY_TLS_KEY: key }, 'RELAY_TLS_CERTIFICATE: the key does not belong to the certificate'],
    [{ RELAY_TLS_CERTIFICATE: '', RELAY_TLS_KEY: '' }, 'RELAY_STATE_DIR: expected a directory'],
  ] as const) {
    sites.start('hetzner', environment);
    await eventually(fault, () => (sites.output('hetzner').includes(fault) ? true : undefined));
  }
});
