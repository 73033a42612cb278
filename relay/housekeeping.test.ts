/** What a relay does on the side, and the figures that it shows. */
import { expect, test } from 'vitest';
import { createMetrics } from '../system/metrics.ts';
import { createFakeClock, type FakeClock } from '../test/support/fake-clock.ts';
import { createTestMailbox } from '../test/support/mailbox.ts';
import { createRecordedEvents, type RecordedEvents } from '../test/support/recorded-events.ts';
import { createMemoryStore } from './adapters/memory-store.ts';
import { createCatchUp } from './catch-up.ts';
import { createHousekeeping } from './housekeeping.ts';
import { type MessageStore, PeerUnreachable, StoreUnavailable } from './ports.ts';
import type { Readiness } from './readiness.ts';

interface House {
  readonly clock: FakeClock;
  readonly store: MessageStore;
  readonly events: RecordedEvents;
  readonly reasons: ReturnType<Readiness['reasons']>[number][];
  readonly lag: { ms: number };
  /** What is known of the clocks of others. */
  readonly skews: Map<string, number>;
  readonly figure: (line: string) => Promise<number>;
  /** Keeps house for a while. */
  readonly keep: (ms: number) => Promise<void>;
}

function house(store: MessageStore = createMemoryStore()): House {
  const clock = createFakeClock(1_000_000);
  const metrics = createMetrics('relay_');
  const events = createRecordedEvents();
  const reasons: House['reasons'] = [];
  const lag = { ms: 0 };
  const skews = new Map([['gcp', -3]]);
  const keepHouse = createHousekeeping({
    store,
    links: [
      { site: 'gcp', provider: 'gcp', isUp: () => true, call: () => Promise.reject(new PeerUnreachable('')) },
      {
        site: 'hetzner',
        provider: 'hetzner',
        isUp: () => false,
        call: () => Promise.reject(new PeerUnreachable('')),
      },
    ],
    readiness: {
      reasons: () => reasons,
      clockOffsetMs: () => -7,
      expiryLagMs: () => lag.ms,
      watch: () => Promise.resolve(),
    },
    skews: () => skews,
    isRecovering: () => true,
    recoveringForMs: () => 2500,
    catchUp: createCatchUp({ clock, events }),
    admission: { load: () => ({ underWay: 3, underWayMax: 10, lagMs: 12 }) },
    quotas: { fullness: () => 0.25 },
    recipients: { count: () => 5 },
    clock,
    metrics,
    events,
  });
  return {
    clock,
    store,
    events,
    reasons,
    lag,
    skews,
    figure: async (name) => {
      const line = (await metrics.text()).split('\n').find((text) => text.startsWith(`relay_${name} `));
      return Number(line?.split(' ').at(-1));
    },
    keep: async (ms) => {
      const stopping = new AbortController();
      const running = keepHouse(stopping.signal);
      await clock.advance(ms);
      stopping.abort(new Error('done'));
      await running;
    },
  };
}

const mailbox = createTestMailbox();

test('what has expired by the own clock only is kept', async () => {
  const { store, keep, events, lag } = house();
  await store.insert([{ message: mailbox.message('m', { expiresMs: 1_001_000 }), owedTo: [] }], 1_000_000);
  lag.ms = 60_000;
  await keep(10_000);
  expect(events.happened).toEqual([]);
  lag.ms = 0;
  await keep(2_000);
  expect(events.happened).toEqual(['discarded expired 1']);
});

test('what has expired is discarded and counted, and what has not stays', async () => {
  const { store, keep, events } = house();
  for (const [name, expiresMs] of [
    ['short', 1_001_000],
    ['long', 9_000_000],
  ] as const) {
    await store.insert([{ message: mailbox.message(name, { expiresMs }), owedTo: [] }], 1_000_000);
  }
  await keep(5000);
  expect(events.happened).toEqual(['discarded expired 1']);
  expect((await store.usage(mailbox.tag)).messages).toBe(1);
});

test('nothing expires by a clock that the others contradict', async () => {
  const { store, keep, events, reasons } = house();
  await store.insert(
    [{ message: mailbox.message('short', { expiresMs: 1_001_000 }), owedTo: [] }],
    1_000_000,
  );
  reasons.push('clock_skew');
  await keep(5000);
  expect((await store.usage(mailbox.tag)).messages).toBe(1);
  reasons.pop();
  await keep(1000);
  expect(events.happened).toEqual(['discarded expired 1']);
});

test('nothing expires by a clock that nobody has confirmed', async () => {
  const { store, keep, events, skews } = house();
  await store.insert([{ message: mailbox.message('m', { expiresMs: 1_001_000 }), owedTo: [] }], 1_000_000);
  skews.clear();
  await keep(5000);
  expect((await store.usage(mailbox.tag)).messages).toBe(1);
  skews.set('hetzner', 12);
  await keep(1000);
  expect(events.happened).toEqual(['discarded expired 1']);
});

test('the figures are what they are said to be', async () => {
  const { store, keep, figure } = house();
  const owed = mailbox.message('owed', { expiresMs: 9_000_000 });
  await store.insert([{ message: owed, owedTo: ['gcp'] }], 1_000_000);
  await keep(4000);
  const shown = [
    'owed{site="gcp"}',
    'owed{site="hetzner"}',
    'owed_oldest_seconds{site="gcp"}',
    'peer_up{site="gcp"}',
    'peer_up{site="hetzner"}',
    'recovering',
    'ready',
    'clock_offset_milliseconds',
    'requests_under_way',
    'event_loop_late_milliseconds',
    'store_fullness',
    'sessions',
    'store_durable',
  ];
  expect(await Promise.all(shown.map(figure))).toEqual([1, 0, 4, 1, 0, 1, 1, -7, 3, 12, 0.25, 5, 0]);
});

test('a store that is away is asked again, and nothing else happens', async () => {
  const store = createMemoryStore();
  let asked = 0;
  const away: MessageStore = {
    ...store,
    debts: () => {
      asked += 1;
      return Promise.reject(new StoreUnavailable('away'));
    },
  };
  const { keep, events } = house(away);
  await keep(5500);
  expect(asked).toBe(6);
  expect(events.happened).toEqual([]);
});

test('what has expired goes although a part of the store cannot tell what it owes', async () => {
  const store = createMemoryStore();
  const { keep, events } = house({ ...store, debts: () => Promise.reject(new StoreUnavailable('away')) });
  await store.insert([{ message: mailbox.message('m', { expiresMs: 1_001_000 }), owedTo: [] }], 1_000_000);
  await keep(2500);
  expect(events.happened).toEqual(['discarded expired 1']);
});
