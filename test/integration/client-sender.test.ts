/**
 * The sender against real servers that hang, refuse, reset and vanish: who is asked when, with what, and what the
 * caller is told.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { RefusedError, UnreachableError } from '../../client/errors.ts';
import { createMailbox, type Mailbox } from '../../client/mailbox.ts';
import { createNodeTransport, type NodeTransport } from '../../client/node-transport.ts';
import { createSubscription, type Subscription } from '../../client/push-url.ts';
import { createSender, type Sender, type SenderOptions } from '../../client/sender.ts';
import { webClock, webRandom } from '../../client/web-clock.ts';
import { TinyFleet } from '../support/tiny-relay.ts';

const TTL = { ttlSeconds: 60 };
const hello = new TextEncoder().encode('hello');
let fleet: TinyFleet;
let transport: NodeTransport;
let mailbox: Mailbox;
let recipient: Subscription;

beforeEach(async () => {
  fleet = await TinyFleet.start({ sites: ['aws', 'gcp', 'hetzner'] });
  const { ca, lookup } = fleet;
  transport = createNodeTransport({ clock: webClock, ca, lookup, connectTimeoutMs: 2000, keepAlive: true });
  mailbox = await createMailbox(webRandom);
  recipient = { endpoint: fleet.pushUrl(mailbox.id), keys: mailbox.keys };
});

afterEach(async () => {
  transport.close();
  await fleet.close();
});

function senderWith(options: Partial<SenderOptions> = {}): Sender {
  return createSender({
    transport,
    clock: webClock,
    random: webRandom,
    fleet: { canonicalOrigin: fleet.canonicalOrigin, sites: fleet.sites },
    preferredProvider: 'aws',
    ...options,
  });
}

function bodies(): readonly string[] {
  return fleet.relays.flatMap(({ requests }) => requests.map(({ body }) => body.toString('base64')));
}

describe('with every provider up', () => {
  test('one attempt at the preferred provider is enough', async () => {
    const accepted = await senderWith().send(recipient, hello, TTL);
    expect(accepted).toMatchObject({ origin: fleet.relay('aws').origin, ttlSeconds: 60, attempts: 1 });
    expect(bodies()).toHaveLength(1);
  });

  test('the recipient can read what arrived, and the relay only sees a padded body', async () => {
    await senderWith().send(recipient, hello, TTL);
    const [message] = fleet.messages.values();
    expect(message?.body).toHaveLength(512);
    expect(await mailbox.decrypt(message?.body ?? new Uint8Array())).toEqual(hello);
  });

  test('a refusal is final and is asked of nobody else', async () => {
    const sender = senderWith();
    const nowhere = { ...recipient, endpoint: `${fleet.canonicalOrigin}/p/damaged` };
    await expect(sender.send(nowhere, hello, TTL)).rejects.toThrow(
      new RefusedError(404, 'capability_unknown'),
    );
    expect(bodies()).toHaveLength(1);
    expect(sender.counts.refused).toBe(1);
  });

  test('the push URL of a stranger is posted to its own origin and to no site of ours', async () => {
    const sender = senderWith({
      fleet: { canonicalOrigin: 'https://other.test', sites: fleet.sites.slice(1) },
    });
    const { origin } = await sender.send(recipient, hello, TTL);
    expect(origin).toBe(fleet.canonicalOrigin);
  });

  test('without a fleet the resolver decides', async () => {
    fleet.answer = ['gcp'];
    const sender = createSender({ transport, clock: webClock, random: webRandom });
    await sender.send(recipient, hello, TTL);
    expect(fleet.relay('gcp').requests).toHaveLength(1);
    expect(fleet.lookups).toEqual(['relay.test']);
  });

  test('a push URL is made with a token that only one site can use', async () => {
    const { origin: siteOrigin } = fleet.relay('gcp');
    const made = await createSubscription(mailbox, {
      transport,
      clock: webClock,
      siteOrigin,
      timeoutMs: 5000,
    });
    expect(made).toEqual(recipient);
  });
});

describe('with a provider that hangs', () => {
  beforeEach(() => {
    fleet.relay('aws').fault = 'hang';
  });

  test('the next provider is asked after the hedge time, with the same bytes', async () => {
    const sender = senderWith({ hedgeAfterMs: 300 });
    const accepted = await sender.send(recipient, hello, TTL);
    expect(accepted.origin).not.toBe(fleet.relay('aws').origin);
    expect(accepted.attempts).toBe(2);
    expect(new Set(bodies()).size).toBe(1);
    expect(fleet.messages.size).toBe(1);
    expect(sender.counts).toMatchObject({ attempt_first: 1, attempt_hedge: 1, accepted: 1 });
  });

  test('the next message starts at the provider that answered', async () => {
    const sender = senderWith({ hedgeAfterMs: 100 });
    await sender.send(recipient, hello, TTL);
    const asked = fleet.relay('aws').requests.length;
    expect(await sender.send(recipient, hello, TTL)).toMatchObject({ attempts: 1 });
    expect(fleet.relay('aws').requests).toHaveLength(asked);
  });

  test('when all hang, the sender says that it does not know, and gives the bytes to try again with', async () => {
    for (const relay of fleet.relays) relay.fault = 'hang';
    const sender = senderWith({ hedgeAfterMs: 20, attemptTimeoutMs: 400, deadlineMs: 1000 });
    const error: unknown = await sender.send(recipient, hello, TTL).catch((reason: unknown) => reason);
    if (!(error instanceof UnreachableError)) throw new Error('not an UnreachableError');
    expect(error.unknown).toBe(true);
    expect(error.reasons).toContain('timeout');
    for (const relay of fleet.relays) relay.fault = 'none';
    await sender.sendCiphertext(recipient.endpoint, error.content, TTL);
    expect(new Set(bodies()).size).toBe(1);
    expect(fleet.messages.size).toBe(1);
  });

  test('the caller may stop waiting', async () => {
    for (const relay of fleet.relays) relay.fault = 'hang';
    const stop = new AbortController();
    const sent = senderWith().send(recipient, hello, { ...TTL, signal: stop.signal });
    stop.abort(new Error('changed my mind'));
    await expect(sent).rejects.toThrow('changed my mind');
  });
});

describe('with a provider that fails at once', () => {
  // A hedge that never comes shows that it was the failure that moved the sender on.
  const patient = { hedgeAfterMs: 60_000 };

  test.each([
    ['is overloaded', { status: 503, code: 'overloaded' }],
    ['limits the rate', { status: 429, code: '' }],
    ['breaks', { status: 500, code: '' }],
    ['resets connections', 'reset'],
  ] as const)('when it %s, the next provider is asked without delay', async (_name, fault) => {
    fleet.relay('aws').fault = fault;
    const sender = senderWith(patient);
    expect(await sender.send(recipient, hello, TTL)).toMatchObject({ attempts: 2 });
    expect(sender.counts).toMatchObject({ attempt_failed: 1, attempt_hedge: 0, attempt_retry: 1 });
  });

  test('when nobody listens there any more, too', async () => {
    await fleet.relay('aws').stop();
    expect(await senderWith(patient).send(recipient, hello, TTL)).toMatchObject({ attempts: 2 });
  });

  test('when all fail, rounds go on until one recovers', async () => {
    for (const relay of fleet.relays) relay.fault = { status: 500, code: '' };
    const sender = senderWith({
      ...patient,
      backoff: { baseMs: 20, maxMs: 50 },
      onEvent: (name) => {
        if (name === 'attempt_failed' && sender.counts.attempt_failed === 7)
          fleet.relay('gcp').fault = 'none';
      },
    });
    const { attempts, origin } = await sender.send(recipient, hello, TTL);
    expect(origin).toBe(fleet.relay('gcp').origin);
    expect(attempts).toBeGreaterThan(7);
  });

  test('Retry-After holds back the provider that said it, and nobody longer than the deadline', async () => {
    for (const relay of fleet.relays) relay.fault = { status: 503, code: 'overloaded' };
    const sender = senderWith({ ...patient, deadlineMs: 900, backoff: { baseMs: 10, maxMs: 20 } });
    const error: unknown = await sender.send(recipient, hello, TTL).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(UnreachableError);
    expect(error).toMatchObject({ unknown: false });
    for (const relay of fleet.relays) expect(relay.requests.length).toBeLessThanOrEqual(2);
  });
});

describe('the connection', () => {
  test('is kept for the next message, and made anew when the relay has dropped it', async () => {
    const sender = senderWith();
    await sender.send(recipient, hello, TTL);
    await sender.send(recipient, hello, TTL);
    expect(fleet.relay('aws').connections).toBe(1);
    fleet.relay('aws').cut();
    await sender.send(recipient, hello, TTL);
    expect(fleet.relay('aws').connections).toBe(2);
    expect(fleet.lookups.filter((name) => name === 'aws.relay.test')).toHaveLength(2);
    expect(sender.counts.attempt_failed).toBe(0);
  });

  test('is not made to a machine whose certificate the caller does not trust', async () => {
    const { lookup } = fleet;
    const distrustful = createNodeTransport({
      clock: webClock,
      lookup,
      connectTimeoutMs: 2000,
      keepAlive: false,
    });
    const { origin } = fleet.relay('aws');
    const asked = distrustful.request(
      { origin, method: 'GET', path: '/v1/info', headers: {} },
      { timeoutMs: 5000 },
    );
    await expect(asked).rejects.toMatchObject({ fault: 'unreachable', mayHaveArrived: false });
    expect(bodies()).toHaveLength(0);
    distrustful.close();
  });
});
