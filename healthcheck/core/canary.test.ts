/** Messages between pairs: who is tried with whom, and what it takes to count against a site. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  CANARY_OUTCOMES,
  type CanaryBook,
  type CanaryOutcome,
  failsByCanary,
  NEW_CANARY_BOOK,
  noteCanary,
  pairsOf,
} from './canary.ts';
import { keyOf, type Target } from './target.ts';

const policy = { canaryIntervalMs: 10_000, downAfter: 3 };
const sites = ['aws', 'gcp', 'hetzner', 'ovh'] as const;

function targetsOf(count: number): readonly Target[] {
  return sites.slice(0, count).map((site) => ({ site, family: 'ipv4' }));
}

/** What a round of canaries finds where messages get lost at some sites. */
type Find = (store: string, fetch: string) => CanaryOutcome;

interface Played {
  readonly book: CanaryBook;
  readonly nowMs: number;
}

function play(
  targets: readonly Target[],
  rounds: number,
  find: Find,
  {
    isReady = () => true,
    from = { book: NEW_CANARY_BOOK, nowMs: 0 },
  }: { isReady?: (site: string) => boolean; from?: Played } = {},
): Played {
  let { book, nowMs } = from;
  for (let round = 0; round < rounds; round += 1) {
    nowMs += policy.canaryIntervalMs;
    for (const pair of pairsOf(targets, round)) {
      const bothReady = isReady(pair.store.site) && isReady(pair.fetch.site);
      book = noteCanary(book, pair, find(pair.store.site, pair.fetch.site), { bothReady, nowMs, policy });
    }
  }
  return { book, nowMs };
}

function failing(targets: readonly Target[], { book, nowMs }: Played): readonly string[] {
  return targets
    .filter((target) => failsByCanary(target, book, { targets, nowMs, policy }))
    .map(({ site }) => site);
}

describe('pairs', () => {
  test('each target stores once and fetches once in a round, and meets every other in turn', () => {
    const targets = targetsOf(4);
    const met = new Set<string>();
    for (let round = 0; round < 3; round += 1) {
      const pairs = pairsOf(targets, round);
      expect(pairs.map(({ store }) => store.site).toSorted()).toStrictEqual([...sites].toSorted());
      expect(pairs.map(({ fetch }) => fetch.site).toSorted()).toStrictEqual([...sites].toSorted());
      for (const { store, fetch } of pairs) met.add(`${store.site} ${fetch.site}`);
    }
    expect(met.size).toBe(12);
    expect([...met].filter((pair) => pair.split(' ')[0] === pair.split(' ')[1])).toStrictEqual([]);
  });

  test('families have pairs of their own', () => {
    const both: readonly Target[] = [...targetsOf(2), { site: 'aws', family: 'ipv6' }];
    const named = (round: number): readonly string[] =>
      pairsOf(both, round).map(({ store, fetch }) => `${keyOf(store)} ${keyOf(fetch)}`);
    expect(named(0)).toStrictEqual(['aws/ipv4 gcp/ipv4', 'gcp/ipv4 aws/ipv4']);
    // Of two targets each is its own partner in turn.
    expect(named(1)).toStrictEqual(['aws/ipv4 aws/ipv4', 'gcp/ipv4 gcp/ipv4']);
  });

  test('a lone target has none', () => {
    expect(pairsOf(targetsOf(1), 0)).toStrictEqual([]);
  });
});

describe('what counts', () => {
  test.each([
    ['takes no messages', (store: string) => (store === 'gcp' ? 'not_stored' : 'delivered')],
    ['accepts and forgets', (store: string) => (store === 'gcp' ? 'not_delivered' : 'delivered')],
    ['gives none out', (_: string, fetch: string) => (fetch === 'gcp' ? 'not_delivered' : 'delivered')],
    [
      'does not answer recipients',
      (_: string, fetch: string) => (fetch === 'gcp' ? 'not_fetched' : 'delivered'),
    ],
  ] as const)('a site that %s fails, and no other', (_, find) => {
    const targets = targetsOf(3);
    expect(failing(targets, play(targets, 2, find))).toStrictEqual([]);
    expect(failing(targets, play(targets, 3, find))).toStrictEqual(['gcp']);
  });

  test('two sites that fail of four are both found, and the others are not blamed', () => {
    const targets = targetsOf(4);
    const broken = ['gcp', 'ovh'];
    const find: Find = (store, fetch) =>
      broken.includes(store) || broken.includes(fetch) ? 'not_delivered' : 'delivered';
    expect(failing(targets, play(targets, 6, find))).toStrictEqual(broken);
  });

  test('one pair that does not get through counts against neither', () => {
    const targets = targetsOf(3);
    const find: Find = (store, fetch) =>
      [store, fetch].every((site) => site !== 'hetzner') ? 'not_delivered' : 'delivered';
    expect(failing(targets, play(targets, 12, find))).toStrictEqual([]);
  });

  test.each([
    ['takes no messages', (store: string) => (store === 'gcp' ? 'not_stored' : 'delivered')],
    ['gives none out', (_: string, fetch: string) => (fetch === 'gcp' ? 'not_delivered' : 'delivered')],
  ] as const)('of two sites one that %s fails with the other and alone', (_, find) => {
    const targets = targetsOf(2);
    expect(failing(targets, play(targets, 2, find))).toStrictEqual([]);
    expect(failing(targets, play(targets, 3, find))).toStrictEqual(['gcp']);
    expect(failing(targets, play(targets, 4, find))).toStrictEqual(['gcp']);
  });

  test('of two sites neither fails that work alone, nor when both fail', () => {
    const targets = targetsOf(2);
    const between: Find = (store, fetch) => (store === fetch ? 'delivered' : 'not_delivered');
    expect(failing(targets, play(targets, 12, between))).toStrictEqual([]);
    const everywhere = play(targets, 12, () => 'not_delivered');
    expect(failing(targets, everywhere)).toStrictEqual([]);
  });

  test('what fails everywhere is the canary', () => {
    const targets = targetsOf(3);
    expect(
      failing(
        targets,
        play(targets, 12, () => 'not_stored'),
      ),
    ).toStrictEqual([]);
  });

  test('a partner that is down by its own probes explains a failure', () => {
    const targets = targetsOf(4);
    const find: Find = (store, fetch) =>
      [store, fetch].includes('ovh') || [store, fetch].every((site) => site !== 'hetzner')
        ? 'not_delivered'
        : 'delivered';
    const isReady = (site: string): boolean => site !== 'ovh';
    expect(failing(targets, play(targets, 12, find, { isReady }))).toStrictEqual([]);
  });

  test('one message that gets through ends it, and so does time', () => {
    const targets = targetsOf(3);
    const bad = play(targets, 4, (store) => (store === 'gcp' ? 'not_stored' : 'delivered'));
    expect(failing(targets, bad)).toStrictEqual(['gcp']);
    expect(
      failing(
        targets,
        play(targets, 1, () => 'delivered', { from: bad }),
      ),
    ).toStrictEqual([]);
    const later = play(targets, 6, (store) => (store === 'gcp' ? 'refused' : 'delivered'), { from: bad });
    expect(failing(targets, later)).toStrictEqual([]);
  });

  test('whatever happens, nobody fails who never failed with two partners', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 4 }),
        fc.array(fc.constantFrom(...CANARY_OUTCOMES), { minLength: 1, maxLength: 60 }),
        (count, outcomes) => {
          const targets = targetsOf(count);
          const partners = new Map<string, Set<string>>();
          let at = 0;
          const played = play(targets, Math.ceil(outcomes.length / count), (store, fetch) => {
            const outcome = outcomes[at] ?? 'delivered';
            at += 1;
            if (outcome !== 'delivered') {
              partners.set(store, (partners.get(store) ?? new Set()).add(fetch));
              partners.set(fetch, (partners.get(fetch) ?? new Set()).add(store));
            }
            return outcome;
          });
          for (const site of failing(targets, played)) {
            expect(partners.get(site)?.size).toBeGreaterThan(1);
          }
        },
      ),
    );
  });
});
