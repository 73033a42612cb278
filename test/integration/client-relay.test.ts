/**
 * The client against the real relays of three sites, one of which is killed while messages are on their way: what
 * was accepted arrives, once.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Fleet } from '../../client/fleet.ts';
import { discoverFleet } from '../../client/fleet.ts';
import { createMailbox } from '../../client/mailbox.ts';
import { createNodeTransport, type NodeTransport } from '../../client/node-transport.ts';
import { createSubscription } from '../../client/push-url.ts';
import { createReceiver } from '../../client/receiver.ts';
import { createSender } from '../../client/sender.ts';
import { webClock, webRandom } from '../../client/web-clock.ts';
import { createRelaySites, type RelaySites } from '../support/relay-sites.ts';

const SITES = ['aws', 'gcp', 'hetzner'];
let sites: RelaySites;
let transport: NodeTransport;
let fleet: Fleet;

beforeAll(async () => {
  sites = await createRelaySites();
  for (const site of SITES) sites.start(site);
  await Promise.all(SITES.map((site) => sites.untilStatus(site, 200)));
  transport = createNodeTransport({
    clock: webClock,
    ca: sites.identities.authorityPem,
    connectTimeoutMs: 2000,
    keepAlive: true,
    lookup: sites.lookup,
  });
  fleet = await discoverFleet(transport, `https://relay.test:${sites.ports.relay}`, 5000);
});

afterAll(async () => {
  transport.close();
  await sites[Symbol.asyncDispose]();
});

test('every message that was accepted is received once, although a site is killed meanwhile', async () => {
  const mailbox = await createMailbox(webRandom);
  const siteOrigin = fleet.sites[0]?.origin ?? '';
  const subscription = await createSubscription(mailbox, {
    transport,
    clock: webClock,
    siteOrigin,
    timeoutMs: 5000,
  });
  const common = { transport, clock: webClock, random: webRandom, fleet };
  const sender = createSender({ ...common, preferredProvider: 'gcp' });
  const receiver = createReceiver({ ...common, mailboxes: [mailbox], preferredProvider: 'gcp' });

  const accepted: string[] = [];
  const received: string[] = [];
  const stop = new AbortController();
  const receiving = (async () => {
    for await (const { content } of receiver.messages(stop.signal)) {
      received.push(new TextDecoder().decode(content));
      if (received.length === 60) stop.abort();
    }
  })();
  const timeout = AbortSignal.timeout(18_000);
  timeout.addEventListener('abort', () => stop.abort());
  for (let number = 0; number < 60; number += 1) {
    if (number === 20) await sites.kill('gcp');
    await sender.send(subscription, new TextEncoder().encode(`message ${number}`), { ttlSeconds: 300 });
    accepted.push(`message ${number}`);
  }
  await receiving;
  expect([...received].sort()).toEqual([...accepted].sort());
  expect(receiver.counts.undecryptable).toBe(0);

  // Once the last acks have reached every site, nothing is left for a recipient who comes later.
  let leftovers = 1;
  while (leftovers > 0) {
    leftovers = 0;
    const empty = new AbortController();
    const late = createReceiver({
      ...common,
      mailboxes: [mailbox],
      ackWhen: 'explicit',
      onEvent: (name) => {
        if (name === 'empty' && late.counts.empty === 2) empty.abort();
      },
    });
    timeout.throwIfAborted();
    for await (const { coding } of late.messages(AbortSignal.any([empty.signal, timeout]))) {
      if (coding === 'aes128gcm') leftovers += 1;
    }
  }
});
