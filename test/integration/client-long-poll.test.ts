/**
 * Receiving where a proxy lets no WebSocket through, at the real relays of three sites: messages come by long-poll, with
 * the same promises, and over WebSockets again as soon as those get through.
 */
import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { discoverFleet, type Fleet } from '../../client/fleet.ts';
import { createMailbox, type Mailbox } from '../../client/mailbox.ts';
import { createNodeTransport, type NodeTransport } from '../../client/node-transport.ts';
import { createSubscriptionAnywhere } from '../../client/push-url.ts';
import { createReceiver, type Receiver, type ReceiverOptions } from '../../client/receiver.ts';
import { createSender } from '../../client/sender.ts';
import { webClock as clock, webRandom as random } from '../../client/web-clock.ts';
import { eventually } from '../support/eventually.ts';
import { type MeddlingProxy, startMeddlingProxy, type UpgradePolicy } from '../support/meddling-proxy.ts';
import { createRelaySites, type RelaySites } from '../support/relay-sites.ts';

const SITES = ['aws', 'gcp', 'hetzner'];
const TEST_MS = 60_000;
let sites: RelaySites;
let proxies: MeddlingProxy[];
let transport: NodeTransport;
let fleet: Fleet;
let mailbox: Mailbox;
let stop: AbortController;
let running: Promise<void>;
let received: string[];

const proxyAddressOf = (relayAddress: string): string => relayAddress.replace(/1$/, '4');

async function startProxies(policy: UpgradePolicy): Promise<void> {
  proxies = await Promise.all(
    sites.layouts.map(({ name, relayAddress }) =>
      startMeddlingProxy({
        address: proxyAddressOf(relayAddress),
        port: sites.ports.relay,
        certificatePem: readFileSync(sites.identities.siteFile(name, 'relay.pem'), 'utf8'),
        keyPem: readFileSync(sites.identities.siteFile(name, 'relay.key'), 'utf8'),
        site: { address: relayAddress, name: `${name}.relay.test`, ca: sites.identities.authorityPem },
        policy,
      }),
    ),
  );
}

async function stopProxies(): Promise<void> {
  await Promise.all(proxies.map((proxy) => proxy[Symbol.asyncDispose]()));
  proxies = [];
}

beforeAll(async () => {
  sites = await createRelaySites();
  for (const site of SITES) sites.start(site);
  await Promise.all(SITES.map((site) => sites.untilStatus(site, 200)));
  await startProxies('pass');
  transport = createNodeTransport({
    clock,
    ca: sites.identities.authorityPem,
    connectTimeoutMs: 2000,
    keepAlive: true,
    lookup: async (hostname) => (await sites.lookup(hostname)).map(proxyAddressOf),
  });
  fleet = await discoverFleet(transport, `https://relay.test:${sites.ports.relay}`, 5000);
}, TEST_MS);

afterAll(async () => {
  transport.close();
  await stopProxies();
  await sites[Symbol.asyncDispose]();
}, TEST_MS);

beforeEach(async () => {
  for (const proxy of proxies) proxy.policy = 'pass';
  mailbox = await createMailbox(random);
  stop = new AbortController();
  running = Promise.resolve();
  received = [];
});

afterEach(async () => {
  stop.abort();
  await running;
});

/** Receives until the test is over. */
function receive(options: Partial<ReceiverOptions> = {}): Receiver {
  const receiver = createReceiver({
    transport,
    clock,
    random,
    fleet,
    mailboxes: [mailbox],
    openWithinMs: 1000,
    backoff: { baseMs: 20, maxMs: 200 },
    ...options,
  });
  running = (async () => {
    for await (const { content } of receiver.messages(stop.signal)) {
      received.push(new TextDecoder().decode(content));
    }
  })();
  return receiver;
}

/** Sends numbered messages, all at once; gives their texts. */
async function send(count: number, to: Mailbox = mailbox, what = 'message'): Promise<readonly string[]> {
  const subscription = await createSubscriptionAnywhere(to, fleet.sites, {
    transport,
    clock,
    timeoutMs: 5000,
  });
  const sender = createSender({ transport, clock, random, fleet });
  const texts = Array.from({ length: count }, (_, index) => `${what} ${index}`);
  const bytes = texts.map((text) => new TextEncoder().encode(text));
  await Promise.all(bytes.map((each) => sender.send(subscription, each, { ttlSeconds: 300 })));
  return texts;
}

async function untilReceived(texts: readonly string[]): Promise<void> {
  await eventually(`${texts.length} messages`, () => (received.length >= texts.length ? true : undefined));
  expect(received.toSorted()).toEqual(texts.toSorted());
}

/** How many messages a site would still deliver to a mailbox. */
async function leftAt(site: string, of: Mailbox): Promise<number> {
  const origin = fleet.sites.find(({ provider }) => provider === site)?.origin ?? '';
  const token = await of.token(origin, Math.floor(clock.wallMs() / 1000));
  const headers = { authorization: `Bearer ${token}` };
  const request = { origin, method: 'GET', path: '/v1/messages?wait=0', headers } as const;
  const { body } = await transport.request(request, { timeoutMs: 5000 });
  const { messages } = JSON.parse(new TextDecoder().decode(body)) as {
    readonly messages: readonly unknown[];
  };
  return messages.length;
}

async function untilReady(receiver: Receiver, kind: 'socket' | 'poll'): Promise<void> {
  await eventually(`two links, each a ${kind}`, () =>
    receiver.readyCount(kind) === 2 && receiver.readyCount() === 2 ? true : undefined,
  );
}

describe.each<[string, UpgradePolicy]>([
  ['answers upgrades with 403', 403],
  ['ends connections that ask for an upgrade', 'drop'],
  ['never answers an upgrade', 'hang'],
])('behind a proxy that %s', (_what, policy) => {
  test('every message comes by long-poll, once, and is acked', { timeout: TEST_MS }, async () => {
    for (const proxy of proxies) proxy.policy = policy;
    // More than one answer may hold, and than may wait for an ack.
    const before = await send(100, mailbox, 'waiting');
    const receiver = receive({ window: 16 });
    await untilReceived(before);
    const after = await send(20, mailbox, 'later');
    await untilReceived([...before, ...after]);
    expect(receiver.readyCount('poll')).toBe(2);
    expect(receiver.counts).toMatchObject({ undecryptable: 0, ended_queue_full: 0, delivered: 120 });
    for (const site of SITES) {
      await eventually(`nothing left at ${site}`, async () =>
        (await leftAt(site, mailbox)) === 0 ? true : undefined,
      );
    }
  });
});

describe('behind a proxy that answers upgrades with 502', () => {
  beforeEach(() => {
    for (const proxy of proxies) proxy.policy = 502;
  });

  test('more mailboxes than may be asked about at once get their messages', {
    timeout: TEST_MS,
  }, async () => {
    const others = await Promise.all(Array.from({ length: 8 }, () => createMailbox(random)));
    const all = await Promise.all(others.map((other, place) => send(3, other, `to ${place}:`)));
    receive({ mailboxes: others, warm: 1 });
    await untilReceived(all.flat());
  });

  test('the loss of a provider loses nothing', { timeout: TEST_MS }, async () => {
    const receiver = receive({ preferredProvider: 'gcp' });
    await untilReady(receiver, 'poll');
    const before = await send(10, mailbox, 'before');
    await sites.kill('gcp');
    const after = await send(10, mailbox, 'after');
    await untilReceived([...before, ...after]);
    await untilReady(receiver, 'poll');
    sites.start('gcp');
    await sites.untilStatus('gcp', 200);
  });

  test('what the application has not acked yet does not hold up what comes later', {
    timeout: TEST_MS,
  }, async () => {
    const receiver = receive({ ackWhen: 'explicit' });
    const first = await send(1, mailbox, 'first');
    await untilReceived(first);
    const second = await send(1, mailbox, 'second');
    await untilReceived([...first, ...second]);
    expect(receiver.counts.delivered).toBe(2);
  });

  test('WebSockets take over again as soon as they get through', { timeout: TEST_MS }, async () => {
    const receiver = receive({ socketRetry: { baseMs: 100, maxMs: 200 } });
    await untilReady(receiver, 'poll');
    const before = await send(5, mailbox, 'before');
    for (const proxy of proxies) proxy.policy = 'pass';
    const during = await send(20, mailbox, 'during');
    await untilReady(receiver, 'socket');
    const after = await send(5, mailbox, 'after');
    await untilReceived([...before, ...during, ...after]);
  });
});

test('a provider that is gone is no reason for long-polls', { timeout: TEST_MS }, async () => {
  await sites.kill('aws');
  const receiver = receive({ preferredProvider: 'aws' });
  await untilReady(receiver, 'socket');
  await untilReceived(await send(5));
  expect(receiver.counts.polling).toBe(0);
  sites.start('aws');
  await sites.untilStatus('aws', 200);
});

test('after a network that was gone, messages come over WebSockets', { timeout: TEST_MS }, async () => {
  const receiver = receive();
  await untilReady(receiver, 'socket');
  await stopProxies();
  await eventually('many failures', () => (receiver.counts.ended_unreachable >= 8 ? true : undefined));
  await startProxies('pass');
  await untilReady(receiver, 'socket');
  await untilReceived(await send(5));
});
