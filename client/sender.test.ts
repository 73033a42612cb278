/**
 * What many sends together do to a fleet, on a clock that is moved by hand: a slow fleet is not asked for twice as
 * much, and a dead provider holds up nobody for long.
 */
import { expect, test } from 'vitest';
import { createFakeClock, type FakeClock } from '../test/support/fake-clock.ts';
import { createSender, type Sender } from './sender.ts';
import type { Transport } from './transport.ts';

const PUSH_URL = 'https://relay.test/p/x';
const MLS = { body: new Uint8Array(16), coding: 'message/mls' };
const OVERLOADED = {
  status: 503,
  header: (name: string) => (name === 'retry-after' ? '2' : undefined),
  body: new TextEncoder().encode('{"code":"overloaded"}'),
};
const sites = ['a', 'b', 'c'].map((provider) => ({ origin: `https://${provider}.relay.test`, provider }));

/**
 * A sender to sites that answer after so many milliseconds, or never where nothing is said: 201, or for urgencies
 * that are shed 503.
 */
function senderTo(
  clock: FakeClock,
  answersAfterMs: Readonly<Record<string, number>>,
  shed: readonly string[] = [],
): { readonly sender: Sender; readonly requests: () => number } {
  let requests = 0;
  const transport: Transport = {
    connect: () => {
      throw new Error('no sockets here');
    },
    request: async ({ headers, origin }) => {
      requests += 1;
      const provider = sites.find((site) => site.origin === origin)?.provider ?? '';
      const answered = Promise.withResolvers<void>();
      const afterMs = answersAfterMs[provider];
      if (afterMs !== undefined) clock.after(afterMs, answered.resolve);
      await answered.promise;
      if (shed.includes(headers['urgency'] ?? '')) return OVERLOADED;
      return { status: 201, header: () => undefined, body: new Uint8Array() };
    },
  };
  const random = { bytes: (length: number) => new Uint8Array(length), fraction: () => 0.5 };
  const fleet = { canonicalOrigin: 'https://relay.test', sites };
  const sender = createSender({ transport, clock, random, fleet, preferredProvider: 'a' });
  return { sender, requests: () => requests };
}

/** Sends one after the other, or all at once; gives how long each took, milliseconds. */
async function sendMany(
  sender: Sender,
  clock: FakeClock,
  count: number,
  order: 'serial' | 'parallel',
): Promise<readonly number[]> {
  const durationsMs: number[] = [];
  const sendOne = async (): Promise<void> => {
    const startMs = clock.monotonicMs();
    await sender.sendCiphertext(PUSH_URL, MLS, { ttlSeconds: 60 });
    durationsMs.push(clock.monotonicMs() - startMs);
  };
  if (order === 'parallel') {
    const sent = Promise.all(Array.from({ length: count }, sendOne));
    await clock.advance(30_000);
    await sent;
  } else {
    for (let number = 0; number < count; number += 1) {
      const sent = sendOne();
      await clock.advance(3000);
      await sent;
    }
  }
  return durationsMs;
}

test.each([
  ['serial', { a: 400, b: 400, c: 400 }],
  ['serial', { a: 2500, b: 2500, c: 2500 }],
  ['parallel', { a: 400, b: 400, c: 400 }],
] as const)(
  'a fleet that is slow for everybody is asked for a tenth more, not for twice as much (%s, %o)',
  async (order, answersAfterMs) => {
    const clock = createFakeClock();
    const { sender, requests } = senderTo(clock, answersAfterMs);
    await sendMany(sender, clock, 200, order);
    expect(requests()).toBeGreaterThan(200);
    // The three that a new sender has in hand come on top.
    expect(requests()).toBeLessThanOrEqual(223);
    expect(sender.counts.hedge_withheld).toBeGreaterThan(100);
  },
);

test('a provider that says nothing holds up nobody longer than a hedge and its answer', async () => {
  const clock = createFakeClock();
  const { sender } = senderTo(clock, { b: 20, c: 20 });
  const durationsMs = await sendMany(sender, clock, 200, 'parallel');
  expect(Math.max(...durationsMs)).toBeLessThanOrEqual(300 + 75 + 20);
  expect(await sendMany(sender, clock, 1, 'serial')).toEqual([20]);
});

test('one by one, only the first message after the loss waits', async () => {
  const clock = createFakeClock();
  const { sender } = senderTo(clock, { b: 20, c: 20 });
  expect(await sendMany(sender, clock, 5, 'serial')).toEqual([320, 20, 20, 20, 20]);
});

test('a fleet that asked for patience is not asked with the next message, unless that is more urgent', async () => {
  const clock = createFakeClock();
  const { sender, requests } = senderTo(clock, { a: 20, b: 20, c: 20 }, ['very-low']);
  const send = async (urgency: 'very-low' | 'high'): Promise<string> =>
    sender.sendCiphertext('https://a.relay.test/p/x', MLS, { ttlSeconds: 60, urgency }).then(
      () => 'accepted',
      (error: unknown) => String(error),
    );
  const first = send('very-low');
  await clock.advance(60);
  expect(requests()).toBe(3);
  const second = send('very-low');
  await clock.advance(1900);
  expect(requests()).toBe(3);
  const third = send('high');
  await clock.advance(20);
  expect(await third).toBe('accepted');
  expect(requests()).toBe(4);
  await clock.advance(40_000);
  expect(await first).toContain('503 overloaded');
  expect(await second).toContain('503 overloaded');
});
