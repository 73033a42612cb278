/**
 * What those who hold a capability can do about it later, against the real relays of three sites: a recipient makes a
 * push URL for one sender only and revokes it, a sender takes a message back; also while a provider is gone.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RefusedError } from '../../client/errors.ts';
import { discoverFleet, type Fleet } from '../../client/fleet.ts';
import { createMailbox, type Mailbox } from '../../client/mailbox.ts';
import { createNodeTransport, type NodeTransport } from '../../client/node-transport.ts';
import { createSubscriptionAnywhere, revokePushUrl, type Subscription } from '../../client/push-url.ts';
import { createSender, type Sender, type SenderOptions } from '../../client/sender.ts';
import { createVapidKey } from '../../client/vapid.ts';
import { webClock as clock, webRandom as random } from '../../client/web-clock.ts';
import { eventually } from '../support/eventually.ts';
import { createRelaySites, type RelaySites } from '../support/relay-sites.ts';

const SITES = ['aws', 'gcp', 'hetzner'];
const TTL = { ttlSeconds: 300 };
const timeoutMs = 5000;
let sites: RelaySites;
let transport: NodeTransport;
let fleet: Fleet;

beforeAll(async () => {
  sites = await createRelaySites();
  for (const site of SITES) sites.start(site);
  await Promise.all(SITES.map((site) => sites.untilStatus(site, 200)));
  transport = createNodeTransport({
    clock,
    ca: sites.identities.authorityPem,
    connectTimeoutMs: 2000,
    keepAlive: true,
    lookup: sites.lookup,
  });
  fleet = await discoverFleet(transport, `https://relay.test:${sites.ports.relay}`, timeoutMs);
});

afterAll(async () => {
  transport.close();
  await sites[Symbol.asyncDispose]();
});

function senderWith(options: Partial<SenderOptions> = {}): Sender {
  return createSender({ transport, clock, random, fleet, ...options });
}

function subscribe(mailbox: Mailbox, vapidPublicKey?: string): Promise<Subscription> {
  const wish = vapidPublicKey === undefined ? {} : { vapidPublicKey };
  return createSubscriptionAnywhere(mailbox, fleet.sites, { transport, clock, timeoutMs, ...wish });
}

const textOf = (text: string): Uint8Array => new TextEncoder().encode(text);

/** What one site would deliver now, in alphabetical order. */
async function waitingAt(provider: string, mailbox: Mailbox): Promise<readonly string[]> {
  const origin = fleet.sites.find((site) => site.provider === provider)?.origin ?? '';
  const token = await mailbox.token(origin, Math.floor(clock.wallMs() / 1000));
  const headers = { authorization: `Bearer ${token}` };
  const request = { origin, method: 'GET', path: '/v1/messages?wait=0', headers } as const;
  const { body } = await transport.request(request, { timeoutMs });
  const { messages } = JSON.parse(new TextDecoder().decode(body)) as {
    readonly messages: readonly { readonly body: string }[];
  };
  const bodies = messages.map((message) => Buffer.from(message.body, 'base64url'));
  const contents = await Promise.all(bodies.map((each) => mailbox.decrypt(each)));
  return contents.map((content) => new TextDecoder().decode(content)).toSorted();
}

async function untilWaiting(provider: string, mailbox: Mailbox, texts: readonly string[]): Promise<void> {
  await eventually(`${texts.join()} at ${provider}`, async () =>
    (await waitingAt(provider, mailbox)).join() === texts.join() ? true : undefined,
  );
}

/** The sites that accept a message to a push URL; the others must refuse it as revoked. */
async function acceptingSites(subscription: Subscription): Promise<readonly string[]> {
  const accepting: string[] = [];
  for (const { origin, provider } of fleet.sites) {
    const only = { canonicalOrigin: fleet.canonicalOrigin, sites: [{ origin, provider }] };
    const sent = senderWith({ fleet: only }).send(subscription, textOf(provider), TTL);
    const error: unknown = await sent.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (error === undefined) accepting.push(provider);
    else expect(error).toEqual(new RefusedError(410, 'capability_revoked'));
  }
  return accepting;
}

test('a push URL that was made for one sender takes messages from that sender, at every site, and from no other', async () => {
  const mailbox = await createMailbox(random);
  const vapid = await createVapidKey('mailto:ops@example.com');
  const subscription = await subscribe(mailbox, vapid.publicKey);
  const sending = (options: Partial<SenderOptions>) =>
    senderWith(options).send(subscription, textOf(`through ${options.preferredProvider ?? 'any'}`), TTL);
  await expect(sending({})).rejects.toEqual(new RefusedError(401, 'vapid_missing'));
  await expect(sending({ vapid: await createVapidKey() })).rejects.toEqual(
    new RefusedError(403, 'vapid_key_wrong'),
  );
  for (const { provider } of fleet.sites) {
    const { origin } = await sending({ vapid, preferredProvider: provider });
    expect(origin).toContain(`${provider}.`);
  }
  for (const site of SITES) {
    await untilWaiting(site, mailbox, ['through aws', 'through gcp', 'through hetzner']);
  }
});

test('a push URL that its recipient revoked is gone at every site, and no other push URL is', async () => {
  const mailbox = await createMailbox(random);
  const revoked = await subscribe(mailbox);
  const other = await subscribe(mailbox);
  await senderWith().send(revoked, textOf('accepted before'), TTL);
  const options = { transport, clock, timeoutMs };

  const stranger = await createMailbox(random);
  await expect(revokePushUrl(stranger, revoked.endpoint, fleet.sites, options)).rejects.toEqual(
    new RefusedError(403, 'revocation_not_signed'),
  );
  await revokePushUrl(mailbox, revoked.endpoint, fleet.sites, options);
  await revokePushUrl(mailbox, revoked.endpoint, fleet.sites.slice(1), options);
  await eventually('no site that accepts', async () =>
    (await acceptingSites(revoked)).length === 0 ? true : undefined,
  );
  expect(await acceptingSites(other)).toEqual(fleet.sites.map(({ provider }) => provider));
  for (const site of SITES) expect(await waitingAt(site, mailbox)).toContain('accepted before');
});

test('a message that its sender took back reaches nobody, although the site that accepted it is gone', async () => {
  const mailbox = await createMailbox(random);
  const subscription = await subscribe(mailbox);
  const sender = senderWith({ preferredProvider: 'aws' });
  const wrong = await sender.send(subscription, textOf('wrong'), TTL);
  await sender.send(subscription, textOf('right'), TTL);
  expect(wrong.origin).toContain('aws.');
  for (const site of SITES) await untilWaiting(site, mailbox, ['right', 'wrong']);

  await sites.kill('aws');
  await sender.retract(wrong.location);
  await sender.retract(wrong.location);
  expect(sender.counts.retracted).toBe(2);
  for (const site of ['gcp', 'hetzner']) await untilWaiting(site, mailbox, ['right']);

  await expect(sender.retract(`${wrong.location}A`)).rejects.toEqual(
    new RefusedError(404, 'message_address_unknown'),
  );
  await expect(sender.retract('')).rejects.toMatchObject({ fault: 'location_malformed' });
});
