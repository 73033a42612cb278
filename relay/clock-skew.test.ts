/**
 * A relay whose clock the others contradict: it says so, wants no clients, and deletes nothing that has not expired by the
 * others' clocks.
 */
import { expect, test } from 'vitest';
import { createFakeClock } from '../test/support/fake-clock.ts';
import { createTestMailbox } from '../test/support/mailbox.ts';
import { testManifest } from '../test/support/manifests.ts';
import { createRecordedEvents } from '../test/support/recorded-events.ts';
import { createMemoryStore } from './adapters/memory-store.ts';
import { createReadiness, type Readiness } from './readiness.ts';

const NOW_MS = 1_800_000_000_000;

function readinessWith(
  skewsMs: Readonly<Record<string, number>>,
  clock = createFakeClock(NOW_MS),
): { readonly readiness: Readiness; readonly happened: readonly string[] } {
  const [own] = testManifest(['aws', 'gcp', 'hetzner']).sites;
  if (own === undefined) throw new Error('no site');
  const events = createRecordedEvents();
  const links = ['gcp', 'hetzner'].map((site) => ({
    site,
    provider: site,
    isUp: () => true,
    call: () => Promise.reject(new Error('not called')),
  }));
  const readiness = createReadiness({
    own,
    copiesNeeded: 2,
    store: createMemoryStore(),
    links,
    skews: () => new Map(Object.entries(skewsMs)),
    clock,
    events,
    isRecovering: () => false,
    isDraining: () => false,
    hasCertificate: () => true,
  });
  return { readiness, happened: events.happened };
}

test('thirty seconds make a site not ready, whichever way, and one wrong peer does not', () => {
  expect(readinessWith({ gcp: -31_000, hetzner: -31_000 }).readiness.reasons()).toContain('clock_skew');
  expect(readinessWith({ gcp: 31_000, hetzner: 31_000 }).readiness.reasons()).toContain('clock_skew');
  expect(readinessWith({ gcp: -7_200_000, hetzner: 5 }).readiness.reasons()).not.toContain('clock_skew');
});

test.each([
  ['two others agree that it is ahead', { gcp: -7_200_000, hetzner: -7_200_010 }],
  ['the only other one says that it is ahead', { gcp: -7_200_000 }],
])('a clock that is two hours ahead expires nothing unread when %s', async (_, skewsMs) => {
  const { readiness } = readinessWith(skewsMs);
  const store = createMemoryStore();
  const mailbox = createTestMailbox();
  const hourLeft = mailbox.message('m', { expiresMs: NOW_MS - 7_200_000 + 3_600_000 });
  await store.insert([{ message: hourLeft, owedTo: [] }], NOW_MS - 7_200_000);
  expect(await store.expire(NOW_MS - readiness.expiryLagMs(), 10)).toBe(0);
});

test('a clock that is right expires what is over, although one other clock is far behind', () => {
  expect(Math.abs(readinessWith({ gcp: 0, hetzner: -7_200_000 }).readiness.expiryLagMs())).toBe(0);
  expect(readinessWith({ gcp: 7_200_000 }).readiness.expiryLagMs()).toBe(0);
  expect(readinessWith({}).readiness.expiryLagMs()).toBe(0);
});

test('half a second is told once, and again after it was right in between', async () => {
  const clock = createFakeClock(NOW_MS);
  const bothAre = (skewMs: number): ReadonlyMap<string, number> =>
    new Map(['gcp', 'hetzner'].map((site) => [site, skewMs]));
  let skewsMs = bothAre(-600);
  const [own] = testManifest(['aws', 'gcp', 'hetzner']).sites;
  if (own === undefined) throw new Error('no site');
  const events = createRecordedEvents();
  const readiness = createReadiness({
    own,
    copiesNeeded: 2,
    store: createMemoryStore(),
    links: [],
    skews: () => skewsMs,
    clock,
    events,
    isRecovering: () => false,
    isDraining: () => false,
    hasCertificate: () => true,
  });
  const stopping = new AbortController();
  const watching = readiness.watch(stopping.signal);
  await clock.advance(5000);
  skewsMs = bothAre(3);
  await clock.advance(2000);
  skewsMs = bothAre(700);
  await clock.advance(2000);
  stopping.abort(new Error('over'));
  await watching;
  expect(events.happened).toEqual(['clockOff 600', 'clockRight', 'clockOff -700']);
});
