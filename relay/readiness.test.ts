/** When a site wants clients, and every reason why it does not. */
import { expect, test } from 'vitest';
import { createFakeClock } from '../test/support/fake-clock.ts';
import { testManifest } from '../test/support/manifests.ts';
import { createRecordedEvents } from '../test/support/recorded-events.ts';
import { createMemoryStore } from './adapters/memory-store.ts';
import { type PeerLink, PeerUnreachable, StoreUnavailable } from './ports.ts';
import { createReadiness, type Readiness, type ReadinessDeps } from './readiness.ts';

const clock = createFakeClock();
const [own] = testManifest(['aws', 'gcp', 'hetzner']).sites;
if (own === undefined) throw new Error('no site');

function link(site: string, isUp: boolean): PeerLink {
  return {
    site,
    provider: site.split('-')[0] ?? site,
    isUp: () => isUp,
    call: () => Promise.reject(new PeerUnreachable('not called')),
  };
}

/** A site that is ready but for what is changed, after its store was asked once. */
async function look(changed: Partial<ReadinessDeps>): Promise<Readiness> {
  const readiness = createReadiness({
    own: own as ReadinessDeps['own'],
    copiesNeeded: 2,
    store: createMemoryStore(),
    links: [link('gcp', true), link('hetzner', true)],
    skews: () => new Map(),
    isRecovering: () => false,
    isDraining: () => false,
    hasCertificate: () => true,
    clock,
    events: createRecordedEvents(),
    ...changed,
  });
  const stopping = new AbortController();
  const watching = readiness.watch(stopping.signal);
  await clock.settle();
  stopping.abort(new Error('done'));
  await watching;
  return readiness;
}

test('a whole site with a second provider in reach wants clients, whoever else is away', async () => {
  expect((await look({})).reasons()).toEqual([]);
  expect((await look({ links: [link('gcp', false), link('hetzner', true)] })).reasons()).toEqual([]);
});

test.each<[string, Partial<ReadinessDeps>]>([
  ['draining', { isDraining: () => true }],
  ['no_certificate', { hasCertificate: () => false }],
  ['recovering', { isRecovering: () => true }],
  ['too_few_providers', { links: [link('gcp', false), link('hetzner', false)] }],
  ['too_few_providers', { links: [link('aws-2', true), link('hetzner', false)] }],
  [
    'clock_skew',
    {
      skews: () =>
        new Map([
          ['gcp', 31_000],
          ['hetzner', 32_000],
        ]),
    },
  ],
  [
    'clock_skew',
    {
      skews: () =>
        new Map([
          ['gcp', -31_000],
          ['hetzner', -32_000],
        ]),
    },
  ],
])('a site does not when it is %s', async (reason, changed) => {
  expect((await look(changed)).reasons()).toEqual([reason]);
});

test('one clock that is far off, out of three, is not believed', async () => {
  expect(
    (
      await look({
        skews: () =>
          new Map([
            ['gcp', 3_600_000],
            ['hetzner', 5],
          ]),
      })
    ).reasons(),
  ).toEqual([]);
});

test('a store is not there before it has answered, and is back when it answers again', async () => {
  let isAway = true;
  const store = {
    ...createMemoryStore(),
    ping: () => (isAway ? Promise.reject(new StoreUnavailable('away')) : Promise.resolve()),
  };
  const readiness = await look({ store });
  expect(readiness.reasons()).toEqual(['store_unavailable']);
  const stopping = new AbortController();
  const watching = readiness.watch(stopping.signal);
  isAway = false;
  await clock.advance(1000);
  expect(readiness.reasons()).toEqual([]);
  isAway = true;
  await clock.advance(1000);
  expect(readiness.reasons()).toEqual(['store_unavailable']);
  stopping.abort(new Error('done'));
  await watching;
});

test('every reason is told at once', async () => {
  const store = createMemoryStore();
  await store.close();
  const all = await look({ store, links: [], isDraining: () => true, isRecovering: () => true });
  expect(all.reasons()).toEqual(['draining', 'store_unavailable', 'recovering', 'too_few_providers']);
});
