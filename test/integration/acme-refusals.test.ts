/**
 * What the keeper of a site's certificate makes of an authority that refuses, is something else or is gone: each has a
 * name and is counted, and what is there stays. The authority is Pebble, and asks our nameserver over real DNS.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { issueServerCertificate, makeAuthority } from '../../fleet/certificates.ts';
import { createAcmeEvents } from '../../healthcheck/acme/events.ts';
import type { AcmeFault } from '../../healthcheck/acme/fault.ts';
import { type CertificateKeeper, openCertificateKeeper } from '../../healthcheck/acme/keeper.ts';
import type { AcmeConfig } from '../../healthcheck/acme/settings.ts';
import { createChallenges } from '../../healthcheck/challenges.ts';
import { systemClock } from '../../system/clock.ts';
import { createLog } from '../../system/log.ts';
import { createMetrics, type Metrics } from '../../system/metrics.ts';
import { systemRandom } from '../../system/random.ts';
import { ok } from '../../system/result.ts';
import { eventually } from '../support/eventually.ts';
import { testManifest } from '../support/manifests.ts';
import { startTestNameserver, type TestNameserver } from '../support/nameserver.ts';
import { type Pebble, type PebbleOptions, startPebble } from '../support/pebble.ts';
import { suiteWith } from '../support/programs.ts';

const DNS = { address: '127.93.0.1', port: 5393 };
const base = testManifest(['aws', 'gcp']);
const manifest = { ...base, health: { ...base.health, ttlMinSeconds: 1 } };
const BINDING = ['kid-1', 'zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W'] as const;
let directory: string;
let nameserver: TestNameserver;
let ofTest: AsyncDisposableStack;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'acme-'));
  nameserver = await startTestNameserver({ manifest, site: 'aws', ...DNS, zoneKey: undefined });
});
afterAll(async () => {
  await nameserver[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true, force: true });
});

interface Kept {
  readonly keeper: CertificateKeeper;
  readonly metrics: Metrics;
  /** What failed last, once something has. */
  readonly fault: () => Promise<{ readonly fault: AcmeFault; readonly detail: string }>;
}

/** A keeper with a state of its own; `publishes` false: it says so and does not. */
async function keep(
  acme: Partial<AcmeConfig> & { readonly directoryUrl: string },
  publishes = true,
): Promise<Kept> {
  const clock = systemClock;
  const metrics = createMetrics('vantage_');
  const log = createLog({ clock, base: {}, level: 'error', write: () => undefined });
  const challenges = createChallenges({
    clock,
    isServing: () => true,
    changed: (records) => nameserver.prove(records),
  });
  const keeper = await openCertificateKeeper({
    acme: {
      contact: undefined,
      extraCa: undefined,
      accountKey: undefined,
      binding: undefined,
      profile: undefined,
      ...acme,
    },
    site: 'aws',
    stateDir: mkdtempSync(join(directory, 'state-')),
    place: () => ({
      manifest,
      heard: () => ['gcp'],
      publish: async (text) => {
        const taken = publishes ? challenges.receive(text, 'aws') : ok(undefined);
        return taken.ok ? ok({ missing: [] }) : taken;
      },
    }),
    clock,
    random: systemRandom,
    events: createAcmeEvents(metrics, log, () => clock.wallMs()),
  });
  const stopping = new AbortController();
  const running = keeper.run(stopping.signal);
  ofTest.defer(async () => {
    stopping.abort(new Error('the test is over'));
    await running;
    challenges.close();
  });
  return {
    keeper,
    metrics,
    fault: async () => eventually('it fails', () => keeper.status().lastFault ?? undefined),
  };
}

/** Pebble, and what a keeper has to know of it. */
async function authority(
  options: Partial<PebbleOptions>,
): Promise<{ readonly pebble: Pebble; readonly acme: { directoryUrl: string; extraCa: string } }> {
  const pebble = await startPebble({
    directory: mkdtempSync(join(directory, 'pebble-')),
    dnsServer: `${DNS.address}:${DNS.port}`,
    validitySeconds: 3600,
    ...options,
  });
  ofTest.use(pebble);
  return {
    pebble,
    acme: { directoryUrl: pebble.directoryUrl, extraCa: readFileSync(pebble.caPath, 'utf8') },
  };
}

const suite = suiteWith('an authority', ['pebble']);
describe.skipIf(suite.skipped)(suite.title, { timeout: 60_000 }, () => {
  beforeAll(() => {
    ofTest = new AsyncDisposableStack();
  });
  afterEach(async () => {
    await ofTest.disposeAsync();
    ofTest = new AsyncDisposableStack();
  });

  test('that refuses a name is told by what it says, and asked again only later', async () => {
    const { acme } = await authority({ blockedNames: [`aws.${manifest.zone}`] });
    const { keeper, metrics, fault } = await keep(acme);
    expect(await fault()).toMatchObject({
      fault: 'order_refused',
      detail: expect.stringContaining('rejectedIdentifier'),
    });
    expect(keeper.current()).toBeUndefined();
    expect(keeper.status()).toMatchObject({
      accountUrl: expect.stringMatching(/^https:\/\/localhost:\d+\/my-account\//),
      notAfterWallMs: null,
    });
    expect(await metrics.text()).toMatch(/certificate_attempts_total\{outcome="order_refused"\} [1-9]/);
  });

  test('that does not find the challenge is told what DNS said', async () => {
    const { acme } = await authority({});
    const { fault } = await keep(acme, false);
    expect(await fault()).toMatchObject({
      fault: 'challenge_failed',
      detail: expect.stringContaining(manifest.zone),
    });
  });

  test('that wants an external account binding gets an account only with one', async () => {
    const { acme } = await authority({ binding: BINDING });
    expect(await (await keep(acme)).fault()).toMatchObject({ fault: 'account_refused' });
    const binding = { keyId: BINDING[0], hmacKey: Buffer.from(BINDING[1], 'base64url') };
    const { keeper } = await keep({ ...acme, binding });
    await eventually('a certificate', () => keeper.current());
  });

  test('that is not one, or not the one that is trusted, or not there', async () => {
    const context = { wallMs: systemClock.wallMs(), random: systemRandom };
    const root = await makeAuthority(context);
    const { certificatePem, keyPem } = await issueServerCertificate(context, root, ['localhost']);
    const server = createServer({ cert: certificatePem, key: keyPem }, (_, response) =>
      response.end('<html>'),
    );
    const port = await listen(server);
    const directoryUrl = `https://localhost:${port}/directory`;
    const closed = async (): Promise<void> => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    };
    const extraCa = root.certificatePem;
    expect(await (await keep({ directoryUrl, extraCa })).fault()).toMatchObject({ fault: 'not_acme' });
    expect(await (await keep({ directoryUrl })).fault()).toMatchObject({
      fault: 'unreachable',
      detail: expect.stringContaining('certificate'),
    });
    await closed();
    expect(await (await keep({ directoryUrl, extraCa })).fault()).toMatchObject({
      fault: 'unreachable',
      detail: expect.stringContaining('ECONNREFUSED'),
    });
  });

  test('that goes away and comes back with no memory: what was issued stays, and the next one is asked for', async () => {
    const { pebble, acme } = await authority({ validitySeconds: 20 });
    const { keeper, fault, metrics } = await keep(acme);
    const first = await eventually('a certificate', () => keeper.current());
    await pebble.stop();
    expect(await fault()).toMatchObject({ fault: 'unreachable' });
    expect(keeper.current()).toBe(first);
    await pebble.start();
    keeper.tryAgain();
    const second = await eventually('another one', () => {
      const current = keeper.current();
      return current === first ? undefined : current;
    });
    expect(second.keyPem).not.toBe(first.keyPem);
    expect(keeper.status()).toMatchObject({ failures: 0, lastFault: null });
    expect(await metrics.text()).toContain('certificate_attempts_total{outcome="issued"} 2\n');
  });
});

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}
