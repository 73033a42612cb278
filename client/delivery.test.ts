/**
 * The decisions of a delivery on a clock that is moved by hand: which provider is asked when.
 */
import { expect, test } from 'vitest';
import type { Clock } from '../system/clock.ts';
import { type DeliveryEnd, deliver } from './delivery.ts';
import { TransportError } from './errors.ts';
import type { Site } from './fleet.ts';
import { createHedgeBudget, type HedgeBudget } from './hedge-budget.ts';
import { createPatience } from './patience.ts';
import type { HttpResponse, Transport } from './transport.ts';

const sites: readonly Site[] = ['a', 'b', 'c'].map((provider) => ({
  origin: `https://${provider}`,
  provider,
}));
const config = {
  hedgeAfterMs: 300,
  attemptTimeoutMs: 5000,
  deadlineMs: 10_000,
  backoff: { baseMs: 100, maxMs: 400 },
};

class HandClock implements Clock {
  nowMs = 0;
  readonly #timers: Set<{ readonly atMs: number; readonly callback: () => void }> = new Set();
  monotonicMs = (): number => this.nowMs;
  wallMs = (): number => this.nowMs;
  sleep = (): Promise<void> => Promise.reject(new Error('nobody sleeps here'));

  after = (ms: number, callback: () => void): (() => void) => {
    const timer = { atMs: this.nowMs + ms, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  };

  async advanceTo(untilMs: number): Promise<void> {
    for (;;) {
      for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
      const next = [...this.#timers].sort((x, y) => x.atMs - y.atMs)[0];
      if (next === undefined || next.atMs > untilMs) break;
      this.#timers.delete(next);
      this.nowMs = next.atMs;
      next.callback();
    }
    this.nowMs = untilMs;
  }
}

function answer(status: number, headers: Readonly<Record<string, string>> = {}): HttpResponse {
  return { status, header: (name) => headers[name], body: new Uint8Array() };
}

/** What each provider does, and a diary of who was asked when. */
function begin(
  behaviour: Readonly<Record<string, () => Promise<HttpResponse>>>,
  deadlineMs: number = config.deadlineMs,
  hedgeBudget: HedgeBudget = createHedgeBudget(),
): {
  readonly clock: HandClock;
  readonly asked: string[];
  readonly end: Promise<DeliveryEnd>;
} {
  const clock = new HandClock();
  const asked: string[] = [];
  const transport: Transport = {
    connect: () => {
      throw new Error('no sockets here');
    },
    request: ({ origin }, { timeoutMs }) => {
      const provider = origin.slice('https://'.length);
      asked.push(`${provider} ${clock.nowMs}`);
      const timedOut = Promise.withResolvers<HttpResponse>();
      clock.after(timeoutMs, () => timedOut.reject(new TransportError('timeout', true)));
      return Promise.race([timedOut.promise, (behaviour[provider] ?? never)()]);
    },
  };
  const end = deliver(
    { method: 'POST', path: '/p/x', headers: {} },
    {
      transport,
      clock,
      random: { bytes: (length) => new Uint8Array(length), fraction: () => 0.5 },
      config: { ...config, deadlineMs },
      order: () => sites,
      onAttempt: () => undefined,
      onFailure: () => undefined,
      hedgeBudget,
      patience: createPatience(),
      onHedgeWithheld: () => asked.push(`withheld ${clock.nowMs}`),
    },
    undefined,
  );
  return { clock, asked, end };
}

const never = (): Promise<HttpResponse> => Promise.withResolvers<HttpResponse>().promise;
const says = (status: number, headers?: Readonly<Record<string, string>>) => () =>
  Promise.resolve(answer(status, headers));

test('without a budget the one provider is waited for, and the next asked once it is known to be failing', async () => {
  const budget = createHedgeBudget();
  const { asked, clock } = begin({ b: says(201) }, config.deadlineMs, {
    ...budget,
    take: (awaited) => [...awaited.values()].every((sinceMs) => clock.nowMs - sinceMs > 400),
  });
  await clock.advanceTo(449);
  expect(asked).toEqual(['a 0', 'withheld 300']);
  await clock.advanceTo(450);
  expect(asked).toEqual(['a 0', 'withheld 300', 'b 450']);
});

test('without a budget a provider that fails is still followed by the next at once', async () => {
  const { asked, clock } = begin({ a: says(500), b: says(201) }, config.deadlineMs, {
    ...createHedgeBudget(),
    take: () => false,
  });
  await clock.advanceTo(0);
  expect(asked).toEqual(['a 0', 'b 0']);
});

test('silence is hedged at 300 and at 600 ms, and the first 201 wins', async () => {
  const { asked, clock, end } = begin({ c: says(201) });
  await clock.advanceTo(599);
  expect(asked).toEqual(['a 0', 'b 300']);
  await clock.advanceTo(600);
  expect(asked).toEqual(['a 0', 'b 300', 'c 600']);
  expect(await end).toMatchObject({ kind: 'accepted', attempts: 3, site: { provider: 'c' } });
});

test('a failure moves on at once, and the hedge of the next one begins anew', async () => {
  const { asked, clock, end } = begin({ a: says(503), c: says(201) });
  await clock.advanceTo(299);
  expect(asked).toEqual(['a 0', 'b 0']);
  await clock.advanceTo(300);
  expect(asked).toEqual(['a 0', 'b 0', 'c 300']);
  expect(await end).toMatchObject({ kind: 'accepted' });
});

test('a refusal ends it even while another attempt has no answer', async () => {
  const { clock, end } = begin({ b: says(404) });
  await clock.advanceTo(300);
  expect(await end).toMatchObject({ kind: 'refused', error: { status: 404 } });
});

test('rounds are apart by the back-off, and ask those again who owe no answer', async () => {
  const { asked, clock } = begin({ b: says(500), c: says(500) });
  await clock.advanceTo(1000);
  // The first round ends at 300 (c fails at once after b); half of 100, 200 and 400 ms is waited.
  expect(asked).toEqual([
    'a 0',
    'b 300',
    'c 300',
    'b 350',
    'c 350',
    'b 450',
    'c 450',
    'b 650',
    'c 650',
    'b 850',
    'c 850',
  ]);
});

test('Retry-After is honoured for who said it, while others are asked', async () => {
  const { asked, clock } = begin({ a: says(429, { 'retry-after': '2' }), b: says(503), c: says(503) });
  await clock.advanceTo(1999);
  expect(asked.filter((entry) => entry.startsWith('a'))).toEqual(['a 0']);
  expect(asked.length).toBeGreaterThan(5);
  await clock.advanceTo(2500);
  expect(asked.filter((entry) => entry.startsWith('a'))).toHaveLength(2);
});

test('when all ask for more patience than there is time, it gives up at once', async () => {
  const patience = says(503, { 'retry-after': '60' });
  const { clock, end } = begin({ a: patience, b: patience, c: patience });
  await clock.advanceTo(1);
  expect(await end).toMatchObject({ kind: 'gave_up', unknown: false, attempts: 3 });
});

test('nobody is kept away for longer than five minutes, whatever he says', async () => {
  const busy = async (): Promise<HttpResponse> => answer(503, { 'retry-after': '86400' });
  const { clock, asked } = begin({ a: busy, b: busy, c: busy }, 3_600_000);
  await clock.advanceTo(299_999);
  expect(asked).toHaveLength(3);
  await clock.advanceTo(301_000);
  expect(asked).toHaveLength(6);
});

test.each([
  ['may have arrived', true],
  ['never left', false],
])('a message of which every attempt %s is unknown accordingly', async (_, mayHaveArrived) => {
  const broken = (): Promise<HttpResponse> => Promise.reject(new TransportError('broken', mayHaveArrived));
  const { clock, end } = begin({ a: broken, b: broken, c: broken }, 1000);
  await clock.advanceTo(1000);
  expect(await end).toMatchObject({ kind: 'gave_up', unknown: mayHaveArrived });
});

test('at the deadline unanswered attempts are unknown', async () => {
  const { clock, end } = begin({}, 1000);
  await clock.advanceTo(1000);
  expect(await end).toMatchObject({ kind: 'gave_up', unknown: true });
});

test.each([200, 202, 204, 301, 304])('a %i is no promise', async (status) => {
  const { clock, end } = begin({ a: says(status), b: says(201) });
  await clock.advanceTo(0);
  expect(await end).toMatchObject({ kind: 'accepted', site: { provider: 'b' } });
});
