/**
 * How long a recipient hears nothing when the site it listens to dies: with two sockets not at all, with one until
 * it has noticed and dialled another. Real relays, killed or frozen, and a sender that uses another site.
 *
 * The figures of several rounds are taken and the middle one is judged, because on a busy machine any single round
 * may have waited for a processor; what the client adds by itself is held to the millisecond on a clock moved by hand
 * (client/receiver.test.ts).
 */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { discoverFleet, type Fleet } from '../../client/fleet.ts';
import { createMailbox, type Mailbox } from '../../client/mailbox.ts';
import { createNodeTransport, type NodeTransport } from '../../client/node-transport.ts';
import { createSubscription, type Subscription } from '../../client/push-url.ts';
import { createReceiver, type Receiver, type ReceiverOptions } from '../../client/receiver.ts';
import { createSender, type Sender } from '../../client/sender.ts';
import { webClock, webRandom } from '../../client/web-clock.ts';
import { eventually } from '../support/eventually.ts';
import { createRelaySites, type RelaySites } from '../support/relay-sites.ts';

const SITES = ['aws', 'gcp', 'hetzner'];
const HEARTBEAT_MS = 1000;
/** What a client with one socket may add to a reset, and to a heartbeat that does not come. */
const HEALED_WITHIN_MS = 1000;
/** What a busy machine may add to that: processes that wait for a processor. */
const BUSY_MS = 250;
const ROUNDS = 3;
const TEST_MS = 60_000;
let sites: RelaySites;
let transport: NodeTransport;
let fleet: Fleet;
let mailbox: Mailbox;
let subscription: Subscription;
let sender: Sender;

async function startSite(site: string): Promise<void> {
  sites.start(site, { RELAY_HEARTBEAT_MS: String(HEARTBEAT_MS), RELAY_DRAIN_MS: '500' });
  await sites.untilStatus(site, 200);
}

beforeEach(async () => {
  sites = await createRelaySites();
  await Promise.all(SITES.map(startSite));
  const addressOf = (hostname: string): readonly string[] =>
    sites.layouts
      .filter(({ name }) => hostname === `${name}.relay.test` || hostname === 'relay.test')
      .map(({ relayAddress }) => relayAddress);
  transport = createNodeTransport({
    clock: webClock,
    ca: sites.identities.authorityPem,
    connectTimeoutMs: 2000,
    keepAlive: true,
    lookup: (hostname) => Promise.resolve(addressOf(hostname)),
  });
  fleet = await discoverFleet(transport, `https://relay.test:${sites.ports.relay}`, 5000);
  mailbox = await createMailbox(webRandom);
  const siteOrigin = fleet.sites[0]?.origin ?? '';
  subscription = await createSubscription(mailbox, {
    transport,
    clock: webClock,
    siteOrigin,
    timeoutMs: 5000,
  });
  const common = { transport, clock: webClock, random: webRandom, fleet };
  sender = createSender({ ...common, preferredProvider: 'hetzner' });
}, TEST_MS);

afterEach(async () => {
  transport.close();
  await sites[Symbol.asyncDispose]();
}, TEST_MS);

/** Small messages, one after the other: when each was accepted, and when it was received. */
class Stream implements AsyncDisposable {
  readonly receiver: Receiver;
  readonly acceptedMs: Map<string, number> = new Map();
  readonly receivedMs: Map<string, number> = new Map();
  /** Where the last socket became ready. */
  provider: string | undefined;
  readonly #name: string = `stream ${webRandom.fraction()}`;
  readonly #stop: AbortController = new AbortController();
  readonly #receiving: Promise<void>;
  readonly #sending: Promise<void>;
  readonly #enough: AbortController = new AbortController();

  constructor(options: Partial<ReceiverOptions>) {
    const common = { transport, clock: webClock, random: webRandom, fleet, mailboxes: [mailbox] };
    this.receiver = createReceiver({
      ...common,
      preferredProvider: 'gcp',
      onEvent: (name, provider) => {
        if (name === 'ready') this.provider = provider;
      },
      ...options,
    });
    this.#receiving = this.#receive();
    this.#sending = this.#send();
  }

  /** The longest time that passed without a message, from a moment on until now, milliseconds. */
  longestGapMs(fromMs: number): number {
    const times = [...this.receivedMs.values()].filter((atMs) => atMs > fromMs).sort((a, b) => a - b);
    return Math.max(...times.map((atMs, place) => atMs - (times[place - 1] ?? fromMs)));
  }

  async untilSteady(sockets: number): Promise<void> {
    await eventually('messages over warm sockets', () =>
      this.receiver.readyCount() === sockets && this.receivedMs.size > 0 ? true : undefined,
    );
  }

  /** Resolves once messages arrive that were accepted after this moment. */
  async untilFresh(): Promise<void> {
    const fromMs = performance.now();
    await eventually('messages accepted from now on', () => {
      const fresh = [...this.acceptedMs].filter(([, atMs]) => atMs > fromMs).map(([text]) => text);
      return fresh.filter((text) => this.receivedMs.has(text)).length >= 5 ? true : undefined;
    });
  }

  /** Sends no more, and resolves when everything that was accepted has arrived. */
  async finish(): Promise<void> {
    this.#enough.abort();
    await this.#sending;
    await eventually('every message', () =>
      [...this.acceptedMs.keys()].every((text) => this.receivedMs.has(text)) ? true : undefined,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#enough.abort();
    await this.#sending;
    this.#stop.abort();
    await this.#receiving;
  }

  async #receive(): Promise<void> {
    for await (const { content } of this.receiver.messages(this.#stop.signal)) {
      const text = new TextDecoder().decode(content);
      // A receiver that is new is also sent what came to an earlier one, if its ack went down with a site.
      if (text.startsWith(this.#name)) this.receivedMs.set(text, performance.now());
    }
  }

  async #send(): Promise<void> {
    for (let number = 0; !this.#enough.signal.aborted; number += 1) {
      const text = `${this.#name} ${number}`;
      await sender.send(subscription, new TextEncoder().encode(text), { ttlSeconds: 300 });
      this.acceptedMs.set(text, performance.now());
      await webClock.sleep(10);
    }
  }
}

/** With one socket, which is at gcp: a relay that has just gone on may turn the first ones away. */
async function streamAtGcp(): Promise<Stream> {
  return eventually('a socket at gcp', async () => {
    const stream = new Stream({ warm: 1 });
    await stream.untilSteady(1);
    if (stream.provider === 'gcp') return stream;
    await stream[Symbol.asyncDispose]();
    return undefined;
  });
}

function middle(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

test.each(['SIGKILL', 'SIGSTOP'] as const)(
  'with sockets at two providers, %s of one is not waited for: the other carries on alone',
  { timeout: TEST_MS },
  async (signal) => {
    // Nothing is dialled again before the test is over, so every message comes over the socket that is left.
    const random = { ...webRandom, fraction: () => 0.9 };
    await using stream = new Stream({ random, backoff: { baseMs: TEST_MS, maxMs: TEST_MS } });
    await stream.untilSteady(2);
    const atMs = performance.now();
    sites.signal('gcp', signal);
    await stream.untilFresh();
    const gapMs = stream.longestGapMs(atMs);
    await stream.finish();
    expect(stream.receiver.counts.ready).toBe(2);
    expect(gapMs).toBeLessThan(HEARTBEAT_MS);
  },
);

test('with one socket, a relay that drains hands its recipient over, without any back-off', {
  timeout: TEST_MS,
}, async () => {
  const random = { ...webRandom, fraction: () => 0.9 };
  await using stream = new Stream({ warm: 1, random, backoff: { baseMs: TEST_MS, maxMs: TEST_MS } });
  await stream.untilSteady(1);
  expect(await sites.stop('gcp')).toBe(0);
  await eventually('a socket elsewhere', () => (stream.receiver.readyCount() === 1 ? true : undefined));
  await stream.untilFresh();
  await stream.finish();
  expect(stream.receiver.counts).toMatchObject({ ended_draining: 1, ready: 2 });
});

test('with one socket, a reset is over within a second', { timeout: TEST_MS }, async () => {
  const gapsMs: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    await using stream = await streamAtGcp();
    const atMs = performance.now();
    await sites.kill('gcp');
    await stream.untilFresh();
    gapsMs.push(stream.longestGapMs(atMs));
    await stream.finish();
    await startSite('gcp');
  }
  expect(middle(gapsMs), gapsMs.join(', ')).toBeLessThanOrEqual(HEALED_WITHIN_MS + BUSY_MS);
});

test('with one socket, silence is over within a second after the heartbeat', {
  timeout: TEST_MS,
}, async () => {
  const gapsMs: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    await using stream = await streamAtGcp();
    const atMs = performance.now();
    sites.signal('gcp', 'SIGSTOP');
    await stream.untilFresh();
    gapsMs.push(stream.longestGapMs(atMs));
    await stream.finish();
    expect(stream.receiver.counts.ended_silent).toBe(1);
    sites.signal('gcp', 'SIGCONT');
    await sites.untilStatus('gcp', 200);
  }
  expect(middle(gapsMs), gapsMs.join(', ')).toBeLessThanOrEqual(HEARTBEAT_MS + HEALED_WITHIN_MS + BUSY_MS);
});
