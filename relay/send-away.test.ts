/** Who is sent away from a site that is not ready, when, how often, and where to. */
import { expect, test } from 'vitest';
import { createFakeClock, type FakeClock } from '../test/support/fake-clock.ts';
import { createRecordedEvents } from '../test/support/recorded-events.ts';
import type { Readiness } from './readiness.ts';
import { AGAIN_MS, runSendAway, UNWELL_MS } from './send-away.ts';

interface Watched {
  readonly clock: FakeClock;
  reasons: ReturnType<Readiness['reasons']>;
  recipients: number;
  /** When recipients were sent away, and where to. */
  readonly sent: { readonly atMs: number; readonly alternates: readonly string[] }[];
  readonly happened: readonly string[];
  stop(): Promise<void>;
}

function watch(): Watched {
  const clock = createFakeClock();
  const events = createRecordedEvents();
  const stopping = new AbortController();
  const watched: Omit<Watched, 'stop'> = {
    clock,
    reasons: [],
    recipients: 3,
    sent: [],
    happened: events.happened,
  };
  const running = runSendAway(
    {
      readiness: { reasons: () => watched.reasons },
      recipients: {
        count: () => watched.recipients,
        sendAway: async (_, alternates) => void watched.sent.push({ atMs: clock.monotonicMs(), alternates }),
      },
      alternates: () => ['https://gcp.relay.test'],
      windowMsMax: 1000,
      clock,
      events,
    },
    stopping.signal,
  );
  return Object.assign(watched, {
    stop: async () => {
      stopping.abort(new Error('done'));
      await running;
    },
  });
}

test('whoever is at a site that stays unready is sent elsewhere, and again while it lasts', async () => {
  const site = watch();
  site.reasons = ['too_few_providers'];
  await site.clock.advance(UNWELL_MS - 1000);
  expect(site.sent).toEqual([]);
  await site.clock.advance(2000);
  expect(site.sent).toMatchObject([{ alternates: ['https://gcp.relay.test'] }]);
  expect(site.happened).toEqual(['sentAway 3 too_few_providers']);
  await site.clock.advance(AGAIN_MS - 2000);
  expect(site.sent).toHaveLength(1);
  await site.clock.advance(3000);
  expect(site.sent).toHaveLength(2);
  await site.stop();
});

test('a break is not worth a move, however often it comes', async () => {
  const site = watch();
  for (let times = 0; times < 10; times += 1) {
    site.reasons = ['store_unavailable'];
    await site.clock.advance(UNWELL_MS - 1000);
    site.reasons = [];
    await site.clock.advance(1000);
  }
  expect(site.sent).toEqual([]);
  await site.stop();
});

test('reasons may change from one to the other: the site is no better for it', async () => {
  const site = watch();
  site.reasons = ['store_unavailable'];
  await site.clock.advance(UNWELL_MS / 2);
  site.reasons = ['recovering'];
  await site.clock.advance(UNWELL_MS / 2 + 1000);
  expect(site.sent).toHaveLength(1);
  await site.stop();
});

test('a relay that drains does it by itself, and one without recipients has nobody to send', async () => {
  const site = watch();
  site.reasons = ['draining', 'too_few_providers'];
  await site.clock.advance(2 * UNWELL_MS);
  expect(site.sent).toEqual([]);
  site.reasons = ['too_few_providers'];
  site.recipients = 0;
  await site.clock.advance(2 * UNWELL_MS);
  expect(site.sent).toEqual([]);
  expect(site.happened).toEqual([]);
  await site.stop();
});
