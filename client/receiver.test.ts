/**
 * How fast a receiver is back after a site is gone, on a clock that is moved by hand: the times that a client adds by
 * itself, in the worst case, and not those of a busy machine.
 */
import { describe, expect, test } from 'vitest';
import { createFakeClock, type FakeClock } from '../test/support/fake-clock.ts';
import { TransportError } from './errors.ts';
import { dnsOnlyFleet, type Fleet } from './fleet.ts';
import type { ReceivedMessage } from './inbox.ts';
import type { Mailbox } from './mailbox.ts';
import { createReceiver, type Receiver } from './receiver.ts';
import type { SocketHandlers, Transport } from './transport.ts';

const HEARTBEAT_MS = 5000;
/** From dialling to ready: a slow mobile network takes four round trips for it. */
const DIAL_MS = 140;
const sites = ['aws', 'gcp', 'hetzner'].map((provider) => ({
  origin: `https://${provider}.relay.test`,
  provider,
}));
/** Cryptography takes time of its own, which this clock does not have. */
const mailbox: Mailbox = {
  id: 'id',
  publicKey: '',
  keys: { p256dh: '', auth: '' },
  token: () => Promise.resolve('token'),
  signAck: () => Promise.resolve(new Uint8Array(64)),
  signRevocation: () => Promise.resolve(new Uint8Array(64)),
  decrypt: () => Promise.reject(new Error('no messages here')),
  export: () => Promise.reject(new Error('not exported here')),
};

interface Dial {
  readonly atMs: number;
  readonly provider: string;
  /** Of a socket. */
  readonly handlers: SocketHandlers | undefined;
}

function providerOf(origin: string): string {
  return sites.find((site) => site.origin === origin)?.provider ?? 'any';
}

interface Scene {
  readonly clock: FakeClock;
  readonly receiver: Receiver;
  /** Of which the first is waited for. */
  readonly messages: AsyncGenerator<ReceivedMessage, void, undefined>;
  readonly dials: Dial[];
  /** When a socket became ready, milliseconds. */
  readonly readyMs: number[];
  /** Sites that refuse connections. */
  readonly refusing: Set<string>;
  readonly stop: () => Promise<void>;
}

/** Begins to receive; every draw of a lot gives `fraction`, the worst of which is just below one. */
async function begin(options: {
  readonly warm: number;
  readonly fraction: number;
  readonly fleet?: Fleet;
  readonly heartbeatMs?: number;
}): Promise<Scene> {
  const clock = createFakeClock();
  const dials: Dial[] = [];
  const readyMs: number[] = [];
  const refusing = new Set<string>();
  const transport: Transport = {
    // The first question of a long-poll, which does no better than a socket.
    request: async ({ origin }) => {
      dials.push({ atMs: clock.monotonicMs(), provider: providerOf(origin), handlers: undefined });
      await clock.sleep(1);
      throw new TransportError('unreachable', false);
    },
    connect: (origin, _path, _protocol, handlers) => {
      const provider = providerOf(origin);
      dials.push({ atMs: clock.monotonicMs(), provider, handlers });
      const welcome = {
        t: 'welcome',
        site: provider,
        audience: origin,
        heartbeatMs: options.heartbeatMs ?? HEARTBEAT_MS,
      };
      if (refusing.has(provider)) clock.after(1, () => handlers.onClose(1006));
      else clock.after(DIAL_MS, () => handlers.onText(JSON.stringify(welcome)));
      return {
        send: (data) => {
          if (String(data).includes('hello')) handlers.onText('{"t":"ready"}');
        },
        close: () => undefined,
      };
    },
  };
  const receiver = createReceiver({
    transport,
    clock,
    random: { bytes: (length) => new Uint8Array(length), fraction: () => options.fraction },
    fleet: options.fleet ?? { canonicalOrigin: 'https://relay.test', sites },
    mailboxes: [mailbox],
    warm: options.warm,
    onEvent: (name) => {
      if (name === 'ready') readyMs.push(clock.monotonicMs());
    },
  });
  const stopping = new AbortController();
  const messages = receiver.messages(stopping.signal);
  const running = messages.next();
  await clock.advance(DIAL_MS);
  return {
    clock,
    receiver,
    messages,
    dials,
    readyMs,
    refusing,
    stop: async () => {
      stopping.abort();
      await running;
    },
  };
}

describe('with one socket and the longest back-off that can be drawn', () => {
  test('silence is over within a second after the heartbeat that did not come', async () => {
    const { clock, dials, readyMs, receiver, stop } = await begin({ warm: 1, fraction: 0.999 });
    dials[0]?.handlers?.onText('{"t":"beat"}');
    const heardMs = clock.monotonicMs();
    await clock.advance(HEARTBEAT_MS + 1000);
    expect(receiver.counts.ended_silent).toBe(1);
    expect(dials.map(({ provider }) => provider)).toEqual(['aws', 'gcp']);
    expect((readyMs[1] ?? Number.NaN) - heardMs).toBeLessThanOrEqual(HEARTBEAT_MS + 1000);
    await stop();
  });

  test('a socket whose beats come in time, and half a second late, is kept', async () => {
    const { clock, dials, receiver, stop } = await begin({ warm: 1, fraction: 0.999 });
    for (let beats = 0; beats < 10; beats += 1) {
      await clock.advance(HEARTBEAT_MS + 500);
      dials[0]?.handlers?.onText('{"t":"beat"}');
    }
    expect(receiver.counts.ended_silent).toBe(0);
    expect(dials).toHaveLength(1);
    await stop();
  });

  test('a relay that wants to be silent for ten minutes is given up like any other', async () => {
    const { clock, dials, receiver, stop } = await begin({
      warm: 1,
      fraction: 0.999,
      heartbeatMs: 600_000,
    });
    await clock.advance(10_600 - 1);
    expect(receiver.counts.ended_silent).toBe(0);
    await clock.advance(1);
    expect(receiver.counts.ended_silent).toBe(1);
    await clock.advance(250);
    expect(dials).toHaveLength(2);
    await stop();
  });

  test('a reset is over within a second', async () => {
    const { clock, dials, readyMs, receiver, stop } = await begin({ warm: 1, fraction: 0.999 });
    const cutMs = clock.monotonicMs();
    dials[0]?.handlers?.onClose(1006);
    await clock.advance(1000);
    expect(receiver.counts.ended_closed).toBe(1);
    expect((readyMs[1] ?? Number.NaN) - cutMs).toBeLessThanOrEqual(1000);
    await stop();
  });
});

test('while no site answers, the waits are drawn from nothing up to a ceiling that doubles to 15 s', async () => {
  for (const fraction of [0, 0.5, 0.999]) {
    const { clock, dials, refusing, stop } = await begin({ warm: 1, fraction });
    for (const { provider } of sites) refusing.add(provider);
    dials[0]?.handlers?.onClose(1006);
    await clock.advance(fraction === 0 ? 20 : 200_000);
    const waitsMs = dials.slice(1).map(({ atMs }, index) => atMs - (dials[index]?.atMs ?? 0));
    const ceilingsMs = waitsMs.map((_, failures) => Math.min(15_000, 250 * 2 ** failures));
    expect(waitsMs.length).toBeGreaterThan(8);
    for (const [index, waitMs] of waitsMs.entries()) {
      // The first socket lived before it ended, the others took 1 ms to be refused.
      const livedMs = index === 0 ? DIAL_MS : 1;
      expect(waitMs - livedMs).toBeCloseTo(fraction * (ceilingsMs[index] ?? 0), 3);
    }
    await stop();
  }
});

test('a relay that has too much to do is left for twice as long as one that broke', async () => {
  for (const [code, withinMs] of [
    [1006, 250],
    [1013, 500],
  ] as const) {
    const { clock, dials, stop } = await begin({ warm: 1, fraction: 0.999 });
    dials[0]?.handlers?.onClose(code);
    await clock.advance(withinMs - 2);
    expect(dials).toHaveLength(1);
    await clock.advance(2);
    expect(dials).toHaveLength(2);
    await stop();
  }
});

test('with two sockets, the end of one is replaced without hurry at the third provider', async () => {
  const { clock, dials, receiver, stop } = await begin({ warm: 2, fraction: 0.999 });
  expect(dials.map(({ provider }) => provider)).toEqual(['aws', 'gcp']);
  dials[0]?.handlers?.onClose(1006);
  expect(receiver.readyCount()).toBe(1);
  await clock.advance(990);
  expect(dials).toHaveLength(2);
  await clock.advance(10 + DIAL_MS);
  expect(dials.map(({ provider }) => provider)).toEqual(['aws', 'gcp', 'hetzner']);
  expect(receiver.readyCount()).toBe(2);
  await stop();
});

test('relays that all want to be rid of a recipient do not send it round in circles', async () => {
  const { clock, dials, stop } = await begin({ warm: 1, fraction: 0.999 });
  const leave = async (place: number, to: string): Promise<void> => {
    dials[place]?.handlers?.onText(
      JSON.stringify({ t: 'drain', withinMs: 0, alternates: [`https://${to}.relay.test`] }),
    );
    dials[place]?.handlers?.onClose(1012);
    await clock.advance(1);
  };
  await leave(0, 'hetzner');
  expect(dials.map(({ provider }) => provider)).toEqual(['aws', 'hetzner']);
  await clock.advance(DIAL_MS);
  await leave(1, 'gcp');
  expect(dials).toHaveLength(2);
  await clock.advance(1000);
  expect(dials).toHaveLength(3);
  await stop();
});

test('a receiver has one loop at a time, and another once that has ended', async () => {
  const { receiver, stop } = await begin({ warm: 1, fraction: 0 });
  const signal = AbortSignal.timeout(60_000);
  await expect(receiver.messages(signal).next()).rejects.toThrow('already_receiving');
  await stop();
  const again = receiver.messages(AbortSignal.abort());
  expect(await again.next()).toEqual({ done: true, value: undefined });
});

test.each(['return', 'throw'] as const)('%s ends a loop that waits for a message', async (how) => {
  const { receiver, stop, messages } = await begin({ warm: 1, fraction: 0 });
  expect(receiver.readyCount()).toBe(1);
  // As a stream that was made of the iterable does when it is destroyed.
  const ended = how === 'return' ? messages.return() : messages.throw(new Error('enough'));
  if (how === 'return') expect(await ended).toEqual({ done: true, value: undefined });
  else await expect(ended).rejects.toThrow('enough');
  expect(receiver.readyCount()).toBe(0);
  await stop();
});

test.each([
  [0, 64],
  [65, 64],
  [1, 0],
  [1, 257],
])('a receiver of %i mailboxes with a window of %i is not made', (count, window) => {
  const never = (): never => {
    throw new Error('nothing is asked');
  };
  const options = {
    transport: { request: never, connect: never },
    clock: createFakeClock(),
    random: { bytes: (length: number) => new Uint8Array(length), fraction: () => 0 },
    fleet: { canonicalOrigin: 'https://relay.test', sites },
    mailboxes: Array.from({ length: count }, () => mailbox),
    window,
  };
  expect(() => createReceiver(options)).toThrow('options_out_of_range');
});

test('a fleet that turns out to have more providers gets more sockets, and one that loses some goes on with fewer', async () => {
  const fleet = dnsOnlyFleet('https://relay.test');
  const { clock, receiver, stop } = await begin({ warm: 2, fraction: 0.5, fleet });
  expect(receiver.readyCount()).toBe(1);
  receiver.useFleet({ canonicalOrigin: 'https://relay.test', sites });
  await clock.advance(5000);
  expect(receiver.readyCount()).toBe(2);
  receiver.useFleet({ canonicalOrigin: 'https://relay.test', sites: sites.slice(0, 1) });
  // At once: a site that has left may be one that was dropped.
  expect(receiver.readyCount()).toBeLessThan(2);
  await clock.advance(5000);
  expect(receiver.readyCount()).toBe(1);
  receiver.useFleet({ canonicalOrigin: 'https://relay.test', sites });
  await clock.advance(5000);
  expect(receiver.readyCount()).toBe(2);
  await stop();
});
