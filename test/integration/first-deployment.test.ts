/**
 * The order of a first deployment and what comes after it, on one machine: nodes wait, alive and not ready; operators
 * compose, sign and push; certificates come from an authority once the registrar knows the zone; then a site is added,
 * drained, and another one dropped with its processes already dead, all under traffic, and the ledger knows of nothing
 * that was accepted and lost.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Fleet } from '../../client/fleet.ts';
import { createMailbox, type Mailbox } from '../../client/mailbox.ts';
import { createNodeTransport, type NodeTransport } from '../../client/node-transport.ts';
import { createSubscription, type Subscription } from '../../client/push-url.ts';
import { createSender } from '../../client/sender.ts';
import { metricValues } from '../../fleet/local/private-http.ts';
import { openAccount } from '../../healthcheck/acme/account.ts';
import { createAcmeSession } from '../../healthcheck/acme/session.ts';
import { parseAccountKey } from '../../healthcheck/acme/settings.ts';
import { probeTrust } from '../../healthcheck/adapters/https-probe.ts';
import { TYPE } from '../../healthcheck/dns/message.ts';
import type { WholeStatus } from '../../healthcheck/status.ts';
import { systemClock } from '../../system/clock.ts';
import { systemRandom } from '../../system/random.ts';
import { AUTHORITY_PROGRAMS, startAuthority, type TestAuthority } from '../support/certificate-authority.ts';
import { createDeployment, type Deployment, PATIENT_POLICY } from '../support/deployment.ts';
import { ask } from '../support/dns-client.ts';
import { startTraffic } from '../support/ledger-traffic.ts';
import { outputOf, suiteWith } from '../support/programs.ts';

const FIRST = ['aws', 'gcp', 'hetzner'];
const ADDED = 'ovh';
const ALL = [...FIRST, ADDED];
const LEFT = ALL.filter((site) => site !== 'aws');
const EVERY_MS = 100;
const HOUR_S = 3600;
const suite = suiteWith('a first deployment', [...AUTHORITY_PROGRAMS, 'dig']);
describe.skipIf(suite.skipped)(suite.title, () => {
  test('from nothing to three providers, one more, and one less', { timeout: 300_000 }, async () => {
    await using fleet = await createDeployment({
      sites: ALL,
      policy: { ...PATIENT_POLICY, canaryIntervalMs: 5000 },
    });
    await using authority = await startAuthority(fleet, HOUR_S);
    const run = async (...words: readonly string[]): Promise<string> => {
      const { code, text } = await fleet.operators.run(...words);
      expect({ words, code, text }).toMatchObject({ code: 0 });
      return text;
    };
    const sign = async (): Promise<void> => {
      await run('sign', '--yes');
      await authority.delegate(await run('delegation'));
    };
    const push = async (): Promise<void> => {
      const said = await run('push', '--wait', '60', '--as', 'alice');
      expect(said).toContain('All nameservers and relays that answer hold');
    };

    for (const site of FIRST) await bringUp(fleet, site, authority);
    await untilWaiting(fleet, FIRST);

    await fleet.compose(FIRST);
    await sign();
    await push();
    await fleet.untilReady(FIRST);
    await untilAnswered(fleet, FIRST, FIRST);

    using transport = transportOf(fleet, authority);
    const mailbox = await createMailbox(systemRandom);
    const recipient = await subscribe(fleet, transport, 'aws', mailbox);
    await using traffic = await startTraffic({
      transport,
      mailbox,
      recipient,
      fleet: fleetOf(fleet, FIRST),
      intervalMs: EVERY_MS,
    });

    await bringUp(fleet, ADDED, authority);
    await untilWaiting(fleet, [ADDED]);
    await fleet.compose(ALL);
    await sign();
    await push();
    await fleet.untilReady([ADDED]);
    await untilAnswered(fleet, ALL, ALL);
    await untilCanariesArrive(fleet, ALL);

    const accounts = await accountsOf(run);
    expect(accounts).toEqual(await Promise.all(ALL.map((site) => accountOfKey(fleet, site, authority))));
    expect(new Set(accounts).size).toBe(ALL.length);
    fleet.edit(({ manifest }) => {
      const data = accounts.map(
        (url) => `0 issue "pebble.test; validationmethods=dns-01; accounturi=${url}"`,
      );
      manifest.records = [{ name: '', type: 'CAA', ttlSeconds: 60, data }];
    });
    await sign();
    await push();
    const caa = await validated(fleet, authority, 'CAA');
    for (const url of accounts) expect(caa).toContain(`accounturi=${url}"`);

    await run('drain', ADDED, '--for', '10m', '--yes', '--as', 'alice');
    await untilAnswered(fleet, ALL, FIRST);
    await run('undrain', ADDED, '--yes', '--as', 'bob');

    await subscribe(fleet, transport, 'gcp', mailbox, vantageToken(fleet, 'aws'));
    await fleet.kill('aws-relay');
    await fleet.kill('aws-vantage');
    const dropped = await run('drop', 'aws', '--yes', '--wait', '60', '--as', 'alice');
    expect(dropped).toContain('What remains to be done by hand');
    await untilAnswered(fleet, LEFT, LEFT);
    // A push URL of the new ring key, from one site, is good at every other.
    const late = await subscribe(fleet, transport, 'gcp');
    expect(capabilityKey(late)).not.toBe(capabilityKey(recipient));
    for (const site of LEFT) await sendThrough(fleet, transport, site, late);
    await expect(subscribe(fleet, transport, 'gcp', mailbox, vantageToken(fleet, 'aws'))).rejects.toThrow();

    const findings = await traffic.finish(10_000);
    expect(findings.accepted).toBeGreaterThan(100);
    expect(findings).toEqual({
      ...findings,
      attempted: findings.accepted,
      delivered: findings.accepted,
      lost: [],
      phantom: [],
      corrupted: [],
      misdelivered: [],
      duplicates: [],
    });
  });
});

/** `fleet add-site`, then what `pulumi up` would start. */
async function bringUp(fleet: Deployment, site: string, authority: TestAuthority): Promise<void> {
  await fleet.addSite(site);
  fleet.startVantage(site, authority.vantageSettings);
  fleet.startRelay(site);
}

async function untilWaiting(fleet: Deployment, sites: readonly string[]): Promise<void> {
  await fleet.until(`${sites.join()} live and wait`, async () => {
    const replies = await Promise.all(
      sites.flatMap((site) =>
        (['relay', 'vantage'] as const).map(async (part) => [
          (await fleet.ask(site, part, '/livez'))?.status,
          (await fleet.ask(site, part, '/readyz'))?.status,
        ]),
      ),
    );
    return replies.every(([livez, readyz]) => livez === 200 && readyz === 503);
  });
  for (const site of sites)
    expect((await fleet.ask(site, 'relay', '/readyz'))?.body).toContain('no_manifest');
}

/** The nameservers of `at` give out these sites and no other. */
async function untilAnswered(
  fleet: Deployment,
  at: readonly string[],
  sites: readonly string[],
): Promise<void> {
  const wanted = sites.map((site) => fleet.layout(site).relayAddress).toSorted();
  await fleet.until(`${at.join()} answer with ${sites.join()}`, async () => {
    const answers = await Promise.all(
      at.map(async (site) => {
        const server = { address: fleet.layout(site).vantageAddress, port: fleet.ports.dns };
        const response = await ask(server, fleet.zone, TYPE.A);
        return (response?.answers ?? []).flatMap((record) => (record.type === 'A' ? [record.address] : []));
      }),
    );
    return answers.every((addresses) => addresses.toSorted().join() === wanted.join());
  });
}

/** Every vantage makes push URLs at every site, with the token that the manifest lists for it. */
async function untilCanariesArrive(fleet: Deployment, sites: readonly string[]): Promise<void> {
  await fleet.until('the message canaries of every vantage arrive', async () => {
    const delivered = await Promise.all(
      sites.map(async (site) => {
        const text = (await fleet.ask(site, 'vantage', '/metrics'))?.body ?? '';
        return metricValues(text, 'vantage_canaries_total').get('delivered') ?? 0;
      }),
    );
    return delivered.every((count) => count >= sites.length);
  });
}

/** What `fleet status` says of the accounts, in the manifest's order; the certificates are good. */
async function accountsOf(run: (...words: readonly string[]) => Promise<string>): Promise<readonly string[]> {
  expect((await run('status', '--as', 'alice')).match(/ (59|60) min left +https:/g)).toHaveLength(ALL.length);
  const asked = JSON.parse(await run('status', '--as', 'alice', '--json')) as { status: WholeStatus }[];
  return asked.map(({ status }) => status.certificate?.accountUrl ?? '');
}

/** The URL of the account that the authority has for the key that `fleet add-site` made. */
async function accountOfKey(fleet: Deployment, site: string, { pebble }: TestAuthority): Promise<string> {
  const pem = readFileSync(fleet.secretFile(site, 'nameserver', 'acme-account-key'), 'utf8');
  const accountKey = parseAccountKey(pem);
  if (accountKey === undefined) throw new Error(`${site} has no account key`);
  const session = createAcmeSession({
    directoryUrl: pebble.directoryUrl,
    accountKey,
    trust: probeTrust(readFileSync(pebble.caPath, 'utf8')),
    wallMs: () => systemClock.wallMs(),
    signal: AbortSignal.timeout(10_000),
  });
  const url = await openAccount(session, { accountKey, contact: undefined, binding: undefined });
  session.close();
  return url;
}

/** Records of the zone as the validating resolver gives them, which says that it verified them. */
async function validated(fleet: Deployment, { resolver }: TestAuthority, type: string): Promise<string> {
  const { address, port } = resolver;
  const words = [`@${address}`, '-p', String(port), fleet.zone, type, '+adflag', '+noall', '+comments'];
  const said = await outputOf('dig', [...words, '+answer']);
  expect(said).toMatch(/flags: [a-z ]*\bad\b/);
  return said;
}

function transportOf(fleet: Deployment, { rootPem }: TestAuthority): NodeTransport & Disposable {
  const transport = createNodeTransport({
    clock: systemClock,
    ca: rootPem,
    connectTimeoutMs: 2000,
    keepAlive: true,
    lookup: async (name) => {
      const site = ALL.find((each) => name === `${each}.${fleet.zone}`);
      return await Promise.resolve(site === undefined ? [] : [fleet.layout(site).relayAddress]);
    },
  });
  return { ...transport, [Symbol.dispose]: () => transport.close() };
}

function fleetOf({ zone, ports }: Deployment, sites: readonly string[]): Fleet {
  return {
    canonicalOrigin: `https://${zone}:${ports.relay}`,
    sites: sites.map((site) => ({ origin: `https://${site}.${zone}:${ports.relay}`, provider: site })),
  };
}

/** A push URL of a new mailbox, or of this one; made with the site's token, or with this one. */
async function subscribe(
  { zone, ports, operators }: Deployment,
  transport: NodeTransport,
  site: string,
  mailbox?: Mailbox,
  operatorToken: string = readFileSync(join(operators.path, 'sites', site, 'operator-token'), 'utf8'),
): Promise<Subscription> {
  return await createSubscription(mailbox ?? (await createMailbox(systemRandom)), {
    transport,
    clock: systemClock,
    siteOrigin: `https://${site}.${zone}:${ports.relay}`,
    operatorToken,
    timeoutMs: 5000,
  });
}

function vantageToken(fleet: Deployment, site: string): string {
  return readFileSync(fleet.secretFile(site, 'nameserver', 'operator-token'), 'utf8');
}

async function sendThrough(
  fleet: Deployment,
  transport: NodeTransport,
  site: string,
  to: Subscription,
): Promise<void> {
  const sender = createSender({
    transport,
    clock: systemClock,
    random: systemRandom,
    fleet: fleetOf(fleet, [site]),
  });
  await sender.send(to, Buffer.from(site), { ttlSeconds: 600 });
}

/** The id of the ring key that sealed a push URL: its first four bytes. */
function capabilityKey({ endpoint }: Subscription): string {
  return Buffer.from(endpoint.split('/p/')[1] ?? '', 'base64url')
    .subarray(0, 4)
    .toString('hex');
}
