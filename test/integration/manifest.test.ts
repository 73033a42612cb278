/**
 * A fleet from its first manifest on, with real processes: nodes wait, one push reaches all, what is refused changes
 * nothing, who was away catches up, somebody on call drains a site, and sites come and go under traffic.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { discoverFleet, type Fleet } from '../../client/fleet.ts';
import { createMailbox } from '../../client/mailbox.ts';
import { createNodeTransport, type NodeTransport } from '../../client/node-transport.ts';
import { createSubscription } from '../../client/push-url.ts';
import { createReceiver } from '../../client/receiver.ts';
import { createSender } from '../../client/sender.ts';
import { webClock, webRandom } from '../../client/web-clock.ts';
import { identityOfKey } from '../../fleet/certificates.ts';
import type { OverrideState, Overrides } from '../../fleet/manifest/manifest.ts';
import { signOverrides } from '../../fleet/manifest/overrides.ts';
import { askNameserver } from '../../fleet/operator/nameservers.ts';
import { TYPE } from '../../healthcheck/dns/message.ts';
import { systemRandom } from '../../system/random.ts';
import { ask as askDns } from '../support/dns-client.ts';
import { eventually } from '../support/eventually.ts';
import { createWaitingFleet, makeSigningKey, type WaitingFleet } from '../support/waiting-fleet.ts';

const SITES = ['aws', 'gcp', 'hetzner'];
const MINUTES_MS = 180_000;
const operators = makeSigningKey();
const ada = makeSigningKey();
const onCallKeys = [{ name: 'ada', publicKey: ada.x }];
let fleet: WaitingFleet;

beforeEach(async () => {
  fleet = await createWaitingFleet([...SITES, 'ovh'], operators);
});
afterEach(async () => fleet[Symbol.asyncDispose]());

/** The sites of this fleet with these names, and what is sealed for their relays. */
function withSites(names: readonly string[]) {
  const { sites, relaySecrets = [] } = fleet.manifest;
  return {
    sites: sites.filter(({ name }) => names.includes(name)),
    relaySecrets: relaySecrets.filter(({ site }) => names.includes(site)),
  };
}

/** A manifest of these sites over a zone that is not signed, so that the test need not sign key sets. */
async function signedFor(
  version: number,
  names: readonly string[],
  over: Parameters<WaitingFleet['sign']>[0] = {},
): Promise<string> {
  const signed = { ...withSites(names), version, onCallKeys, zoneKeys: undefined, ...over };
  return fleet.sign(signed as Parameters<WaitingFleet['sign']>[0]);
}

async function push(site: string, body: string): ReturnType<WaitingFleet['ask']> {
  return fleet.ask(site, { method: 'POST', path: '/v1/manifest', body });
}

async function addressesAt(site: string): Promise<readonly string[]> {
  const { vantageAddress } = layoutOf(site);
  const reply = await askDns({ address: vantageAddress, port: fleet.ports.dns }, fleet.manifest.zone, TYPE.A);
  return (reply?.answers ?? []).flatMap((record) => (record.type === 'A' ? [record.address] : [])).toSorted();
}

function layoutOf(site: string) {
  const layout = fleet.layouts.find(({ name }) => name === site);
  if (layout === undefined) throw new Error(`no site ${site}`);
  return layout;
}

async function untilAnswer(at: string, sites: readonly string[]): Promise<void> {
  const wanted = sites.map((site) => layoutOf(site).relayAddress).toSorted();
  await eventually(
    `${at} answers with ${sites.join(' ')}`,
    async () => ((await addressesAt(at)).join() === wanted.join() ? true : undefined),
    60_000,
  );
}

async function drains(sites: Readonly<Record<string, OverrideState>>, forMs: number): Promise<string> {
  const now = Date.now();
  const overrides: Overrides = {
    sites: Object.entries(sites).map(([site, state]) => ({ site, state, untilWallMs: now + forMs })),
    frozenUntilWallMs: null,
  };
  return signOverrides({ format: 1, sequence: now, overrides }, ada);
}

async function heldBy(site: string): Promise<readonly unknown[]> {
  const { body } = await fleet.ask(site, { method: 'GET', path: '/v1/manifest' });
  return [body['manifest'], body['overrides']];
}

test('nodes wait, one push reaches all of them, and what is refused changes nothing', {
  timeout: MINUTES_MS,
}, async () => {
  for (const site of SITES) fleet.start('vantage', site);
  for (const site of SITES) fleet.start('relay', site);
  for (const site of SITES) {
    await fleet.untilReasons('vantage', site, ['no_manifest']);
    await fleet.untilReasons('relay', site, ['no_manifest']);
    expect(fleet.output('relay', site)).toMatch(/"event":"waiting".*"reason":"no_manifest"/);
  }
  expect((await fleet.ask('aws', { method: 'GET', path: '/v1/manifest' })).body['code']).toBe('no_manifest');

  const first = await signedFor(7, SITES);
  expect(await push('gcp', first)).toMatchObject({ status: 200, body: { outcome: 'adopted', version: 7 } });
  expect(await push('gcp', first)).toMatchObject({ status: 200, body: { outcome: 'already', version: 7 } });
  for (const site of SITES) {
    await fleet.untilMetric('vantage', site, 'vantage_manifest_version', 7);
    await fleet.untilMetric('relay', site, 'relay_manifest_version', 7);
    await fleet.untilReasons('relay', site, []);
    await fleet.untilReasons('vantage', site, []);
    await untilAnswer(site, SITES);
  }

  const strangers = await createWaitingFleet(['aws'], makeSigningKey());
  const drained = SITES.map((site) => ({ site, state: 'drained' as const, untilWallMs: 1 }));
  const bad: readonly (readonly [string, string])[] = [
    ['not_newer', await signedFor(6, SITES)],
    ['version_taken', await signedFor(7, SITES, { steering: 'priority' })],
    ['not_signed', await strangers.sign({ version: 9 })],
    ['not_signed', (await signedFor(9, SITES)).slice(0, -20)],
    [
      'drains_everything',
      await signedFor(9, SITES, { overrides: { sites: drained, frozenUntilWallMs: null } }),
    ],
    ['invalid', await signedFor(9, SITES, { port: 0 })],
    ['own_entry_differs', await signedFor(9, SITES, { zoneKeys: strangers.manifest.zoneKeys as never })],
  ];
  await strangers[Symbol.asyncDispose]();
  for (const [code, signed] of bad) {
    expect([code, await push('aws', signed)]).toMatchObject([code, { status: 409, body: { code } }]);
    expect(await heldBy('aws')).toStrictEqual([first, null]);
  }
  expect(await fleet.metric('vantage', 'aws', 'vantage_manifests_refused_total{reason="not_signed"}')).toBe(
    2,
  );
  for (const site of SITES) await untilAnswer(site, SITES);
});

test('who starts again has its last manifest from the disk, and who was away catches up', {
  timeout: MINUTES_MS,
}, async () => {
  for (const site of SITES) fleet.start('vantage', site);
  for (const site of SITES) await fleet.untilReasons('vantage', site, ['no_manifest']);
  await push('aws', await signedFor(1, SITES));
  for (const site of SITES) await fleet.untilMetric('vantage', site, 'vantage_manifest_version', 1);
  fleet.start('relay', 'aws');
  await fleet.untilMetric('relay', 'aws', 'relay_manifest_version', 1);

  for (const site of SITES) await fleet.kill('vantage', site);
  await fleet.kill('relay', 'aws');
  // Nobody can be asked: only the disk is left.
  fleet.start('relay', 'aws');
  await fleet.untilMetric('relay', 'aws', 'relay_manifest_version', 1);
  fleet.start('vantage', 'aws');
  await fleet.untilMetric('vantage', 'aws', 'vantage_manifest_version', 1);

  // A copy that is cut off is no copy; the vantage waits, and another one tells it.
  const kept = join(fleet.directory, 'vantage-gcp', 'manifest.jws');
  writeFileSync(kept, readFileSync(kept, 'utf8').slice(0, 200));
  fleet.start('vantage', 'gcp');
  await fleet.untilMetric('vantage', 'gcp', 'vantage_manifest_version', 1);
  expect(fleet.output('vantage', 'gcp')).toContain('"reason":"not_signed"');

  const second = await signedFor(2, SITES);
  expect((await push('gcp', second)).status).toBe(200);
  await fleet.untilMetric('vantage', 'aws', 'vantage_manifest_version', 2);
  const drain = await drains({ hetzner: 'draining' }, 3_600_000);
  expect((await fleet.ask('aws', { method: 'POST', path: '/v1/overrides', body: drain })).status).toBe(200);
  fleet.start('vantage', 'hetzner');
  await fleet.untilMetric('vantage', 'hetzner', 'vantage_manifest_version', 2);
  await eventually('hetzner has both', async () =>
    (await heldBy('hetzner')).join() === [second, drain].join() ? true : undefined,
  );
  await fleet.untilMetric('relay', 'aws', 'relay_manifest_version', 2);
});

test('somebody on call drains a site for a while, sees why it is so, and can do no more', {
  timeout: MINUTES_MS,
}, async () => {
  for (const site of SITES) fleet.start('vantage', site);
  for (const site of SITES) fleet.start('relay', site);
  for (const site of SITES) await fleet.untilReasons('vantage', site, ['no_manifest']);
  await push('aws', await signedFor(1, SITES));
  for (const site of SITES) await untilAnswer(site, SITES);

  const post = async (body: string) => fleet.ask('hetzner', { method: 'POST', path: '/v1/overrides', body });
  const drain = await drains({ gcp: 'drained' }, 20_000);
  expect(await post(drain)).toMatchObject({ status: 200, body: { outcome: 'adopted' } });
  for (const site of SITES) await untilAnswer(site, ['aws', 'hetzner']);
  const everything = await drains({ aws: 'drained', gcp: 'drained', hetzner: 'drained' }, 20_000);
  expect((await post(everything)).body['code']).toBe('drains_everything');
  expect((await post(await drains({ ovh: 'drained' }, 1000))).body['code']).toBe('site_unknown');
  expect((await post(await drains({ gcp: 'drained' }, 90_000_000))).body['code']).toBe('too_long');
  // With what is drained on call nothing would be left.
  const others = ['aws', 'hetzner'].map((site) => ({
    site,
    state: 'drained' as const,
    untilWallMs: Date.now() + 60_000,
  }));
  const combined = await signedFor(2, SITES, { overrides: { sites: others, frozenUntilWallMs: null } });
  expect((await push('aws', combined)).body['code']).toBe('drains_everything');

  const identity = await identityOfKey({ wallMs: Date.now(), random: systemRandom }, ada);
  const status = async () => (await fleet.ask('aws', { method: 'GET', path: '/v1/status', identity })).body;
  await eventually('the relay of aws has said what it holds', async () => {
    const { relays } = (await status()) as { relays: unknown };
    return JSON.stringify(relays) === '{"count":1,"manifestVersionMin":1,"lacking":[]}' ? true : undefined;
  });
  expect(await status()).toMatchObject({ waiting: null, overrides: { by: 'ada' } });
  const decisions = { method: 'GET', path: '/v1/decisions?after=0', identity } as const;
  const log = await askNameserver(fleet.nameserver('aws'), decisions);
  expect(log.ok && log.value.body.split('\n').length).toBeGreaterThan(2);
  expect((await fleet.ask('aws', { method: 'GET', path: '/v1/status' })).body['code']).toBe('key_not_pinned');
  // It ends by itself.
  for (const site of SITES) await untilAnswer(site, SITES);
});

test('sites come and go under traffic, and no accepted message is lost', {
  timeout: MINUTES_MS,
}, async () => {
  const all = [...SITES, 'ovh'];
  for (const site of all) fleet.start('vantage', site);
  for (const site of all) fleet.start('relay', site);
  for (const site of all) await fleet.untilReasons('vantage', site, ['no_manifest']);
  await push('aws', await signedFor(1, SITES));
  for (const site of SITES) await fleet.untilReasons('relay', site, []);
  expect(await fleet.reasons('relay', 'ovh')).toStrictEqual(['no_manifest']);

  await using traffic = await startTraffic();
  await traffic.until(20);
  const said = fleet.output('relay', 'aws').length;

  // The vantage of the site that comes is not in anybody's manifest yet: an operator hands it the manifest, too.
  const wider = await signedFor(2, all);
  await push('gcp', wider);
  for (const site of all) await fleet.untilMetric('relay', site, 'relay_manifest_version', 2);
  await fleet.untilReasons('relay', 'ovh', []);
  await traffic.until(traffic.accepted() + 20);
  // The links that there were before were left alone. The new one may have been tried before anybody listened.
  const sinceThen = fleet.output('relay', 'aws').slice(said);
  const links = sinceThen
    .split('\n')
    .filter((line) => line.includes('"peer down"') || line.includes('"peer up"'));
  expect(links.filter((line) => !line.includes('"peer":"ovh"'))).toEqual([]);
  expect(links.filter((line) => line.includes('"peer up"'))).toHaveLength(1);

  await fleet.kill('relay', 'hetzner');
  await fleet.kill('vantage', 'hetzner');
  const left = ['aws', 'gcp', 'ovh'];
  await traffic.until(traffic.accepted() + 20);
  await push('ovh', await signedFor(3, left));
  for (const site of left) await fleet.untilMetric('relay', site, 'relay_manifest_version', 3);
  await eventually('nothing is owed to the site that left', async () => {
    const dropped = await fleet.metric('relay', 'aws', 'relay_outbox_total{event="site_left"}');
    const owed = await fleet.metric('relay', 'aws', 'relay_owed{site="hetzner"}');
    return (dropped ?? 0) > 0 && owed === undefined ? true : undefined;
  });
  await traffic.until(traffic.accepted() + 20);

  // A relay whose provider is another begins anew by itself, and the others go on.
  const renamed = withSites(left).sites.map((site) =>
    site.name === 'ovh' ? { ...site, provider: 'ovhcloud' } : site,
  );
  await push('aws', await signedFor(4, left, { sites: renamed }));
  expect(await fleet.ended('relay', 'ovh')).toBe(0);
  expect(fleet.output('relay', 'ovh')).toMatch(/"event":"stopping".*"reason":"provider_changed"/);
  fleet.start('relay', 'ovh');
  await fleet.untilMetric('relay', 'ovh', 'relay_manifest_version', 4);
  await fleet.untilReasons('relay', 'ovh', []);
  for (const site of ['aws', 'gcp']) await fleet.untilMetric('relay', site, 'relay_manifest_version', 4);
  await traffic.until(traffic.accepted() + 20);

  // A site whose relay still runs is told, and leaves by itself.
  const two = ['aws', 'gcp'];
  await push('aws', await signedFor(5, two));
  expect(await fleet.ended('relay', 'ovh')).toBe(0);
  expect(fleet.output('relay', 'ovh')).toMatch(/"event":"stopping".*"reason":"not_in_manifest"/);
  await fleet.untilReasons('vantage', 'ovh', ['not_in_manifest']);
  fleet.start('relay', 'ovh', { RELAY_SECRETS: '' });
  await fleet.untilReasons('relay', 'ovh', ['not_in_manifest']);
  await traffic.until(traffic.accepted() + 20);
  await traffic.complete();
});

interface Traffic extends AsyncDisposable {
  accepted(): number;
  /** Resolves once so many were accepted. */
  until(count: number): Promise<void>;
  /** Sends no more, and resolves once everything that was accepted has arrived. */
  complete(): Promise<void>;
}

/** One sender and one recipient with failover, between sites that may come and go. */
async function startTraffic(): Promise<Traffic> {
  const transport: NodeTransport = createNodeTransport({
    clock: webClock,
    ca: fleet.identities.authorityPem,
    connectTimeoutMs: 2000,
    keepAlive: true,
    lookup: async (hostname) =>
      fleet.layouts
        .filter(({ name }) => hostname === 'relay.test' || hostname === `${name}.relay.test`)
        .map(({ relayAddress }) => relayAddress),
  });
  const origin = `https://aws.relay.test:${fleet.ports.relay}`;
  const known: Fleet = await discoverFleet(transport, origin, 5000);
  const mailbox = await createMailbox(webRandom);
  const options = { transport, clock: webClock, siteOrigin: origin, timeoutMs: 5000 };
  const subscription = await createSubscription(mailbox, options);
  const common = { transport, clock: webClock, random: webRandom, fleet: known };
  const sender = createSender({ ...common, preferredProvider: 'gcp' });
  const receiver = createReceiver({ ...common, mailboxes: [mailbox], preferredProvider: 'gcp' });
  const [accepted, received] = [new Set<string>(), new Set<string>()];
  const [stopSending, stopReceiving] = [new AbortController(), new AbortController()];
  const receiving = (async () => {
    for await (const { content } of receiver.messages(stopReceiving.signal)) {
      received.add(new TextDecoder().decode(content));
    }
  })().catch(() => undefined);
  const sending = (async () => {
    for (let number = 0; !stopSending.signal.aborted; number += 1) {
      const text = `message ${number}`;
      await sender
        .send(subscription, new TextEncoder().encode(text), { ttlSeconds: 3600 })
        .then(() => accepted.add(text))
        .catch(() => undefined);
    }
  })();
  const stop = async (): Promise<void> => {
    stopSending.abort();
    await sending;
  };
  return {
    accepted: () => accepted.size,
    until: async (count) => {
      await eventually(
        `${count} messages are accepted`,
        () => (accepted.size >= count ? true : undefined),
        60_000,
      );
    },
    complete: async () => {
      await stop();
      await eventually(
        'everything that was accepted arrives',
        () => (accepted.isSubsetOf(received) ? true : undefined),
        60_000,
      );
    },
    [Symbol.asyncDispose]: async () => {
      await stop();
      stopReceiving.abort();
      await receiving;
      transport.close();
    },
  };
}
