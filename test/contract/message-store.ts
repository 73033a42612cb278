/**
 * What every message store promises, as facts. Each store has a test file that runs them against it; what only a
 * durable store can promise is in that store's file.
 */
import { beforeEach, describe, expect, test } from 'vitest';
import { TOMBSTONE_SLACK_MS } from '../../relay/core/ack.ts';
import { PARTITIONS, partitionOf } from '../../relay/core/mailbox.ts';
import type { Message } from '../../relay/core/message.ts';
import { type Reference, referenceTo } from '../../relay/core/reference.ts';
import type { MessageStore } from '../../relay/ports.ts';
import { createTestMailbox, type TestMailbox } from '../support/mailbox.ts';
import { describeSets } from './store-sets.ts';
import { describeUsage } from './store-usage.ts';

const NOW_MS = 10_000;
const LATER_MS = 11_000;
/** Beyond the expiry of the test mailbox's messages. */
const EXPIRED_MS = 100_001;

/** Runs the facts; `open` gives an empty store, which the caller closes. */
export function describeMessageStore(open: () => Promise<MessageStore>): void {
  let store: MessageStore;
  let mailbox: TestMailbox;

  beforeEach(async () => {
    store = await open();
    mailbox = createTestMailbox();
  });

  const insert = (message: Message, owedTo: readonly string[] = [], nowMs = NOW_MS) =>
    store.insert([{ message, owedTo }], nowMs);

  describeUsage(open);
  describeSets(open);

  describe('a message', () => {
    test('that was stored is pending, whole', async () => {
      const message = mailbox.message('one', {
        urgency: 'high',
        topic: 'abc',
        body: Buffer.from([0, 255, 13]),
      });
      expect(await insert(message)).toEqual(['stored']);
      const [found] = await store.pending(mailbox.tag, 10, NOW_MS);
      expect(found?.id).toBe(message.id);
      expect(Buffer.from(found?.record ?? []).equals(message.record)).toBe(true);
    });

    test('that comes twice is stored once and owed once', async () => {
      await insert(mailbox.message('one'), ['gcp']);
      await store.settle([{ sites: ['gcp'], references: [referenceTo(mailbox.message('one'))] }]);
      expect(await insert(mailbox.message('one'), ['gcp', 'aws'])).toEqual(['duplicate']);
      expect(await store.pending(mailbox.tag, 10, NOW_MS)).toHaveLength(1);
      expect(await store.owed('gcp', LATER_MS, 10)).toEqual([]);
      expect(await store.owed('aws', LATER_MS, 10)).toEqual([]);
    });

    test('that comes from many callers at once is stored by exactly one of them', async () => {
      const message = mailbox.message('one');
      const outcomes = await Promise.all(Array.from({ length: 20 }, () => insert(message, ['gcp'])));
      expect(outcomes.flat().filter((outcome) => outcome === 'stored')).toHaveLength(1);
      expect(outcomes.flat().filter((outcome) => outcome === 'duplicate')).toHaveLength(19);
      expect(await store.owed('gcp', LATER_MS, 10)).toEqual([referenceTo(message)]);
    });

    test('that has expired and was not swept yet is stored anew when it is sent again', async () => {
      await insert(mailbox.message('one', { expiresMs: NOW_MS + 1 }));
      const again = mailbox.message('one', { expiresMs: LATER_MS + 50 });
      expect(await insert(again, ['gcp'], NOW_MS + 1)).toEqual(['stored']);
      await store.expire(NOW_MS + 2, 10);
      const pending = await store.pending(mailbox.tag, 10, LATER_MS);
      expect(pending.map(({ expiresMs }) => expiresMs)).toEqual([again.expiresMs]);
      expect(await store.owed('gcp', LATER_MS, 10)).toEqual([referenceTo(again)]);
    });

    test('that is sent again to live longer lives longer, and never shorter', async () => {
      await insert(mailbox.message('one', { expiresMs: LATER_MS }));
      expect(await insert(mailbox.message('one', { expiresMs: LATER_MS + 10 }))).toEqual(['stored']);
      expect(await insert(mailbox.message('one', { expiresMs: LATER_MS + 5 }))).toEqual(['duplicate']);
      const pending = await store.pending(mailbox.tag, 10, NOW_MS);
      expect(pending.map(({ expiresMs }) => expiresMs)).toEqual([LATER_MS + 10]);
    });

    test('stays what it was when other content comes under its id', async () => {
      const first = mailbox.message('one', { body: Buffer.from('first') });
      await insert(first);
      const other = mailbox.message('one', { body: Buffer.from('other'), expiresMs: 200_000 });
      expect(await insert(other)).toEqual(['other_kept']);
      const [found] = await store.pending(mailbox.tag, 10, NOW_MS);
      expect(Buffer.from(found?.body ?? []).toString()).toBe('first');
    });

    test('that has expired is not stored and leaves nothing', async () => {
      const message = mailbox.message('one', { expiresMs: NOW_MS });
      expect(await insert(message, ['gcp'])).toEqual(['expired']);
      expect(await store.owed('gcp', LATER_MS, 10)).toEqual([]);
      expect(await store.missing([referenceTo(message)])).toEqual([referenceTo(message)]);
      expect(await listAll(store, 100)).toEqual([]);
    });

    test('belongs to its mailbox only, even with the same id', async () => {
      const other = createTestMailbox();
      expect(await insert(mailbox.message('one'))).toEqual(['stored']);
      expect(await insert(other.message('one'))).toEqual(['stored']);
      await store.bury([{ ack: other.ack([other.message('one').id], 0), owedTo: [] }], NOW_MS);
      expect(await store.pending(mailbox.tag, 10, NOW_MS)).toHaveLength(1);
      expect(await store.pending(other.tag, 10, NOW_MS)).toEqual([]);
    });

    test('gets its own outcome among many, in their order', async () => {
      const late = mailbox.message('late', { expiresMs: 1 });
      const buried = mailbox.message('buried');
      await store.bury([{ ack: mailbox.ack([buried.id], 100_000), owedTo: [] }], NOW_MS);
      const many = Array.from({ length: 500 }, (_, index) => createTestMailbox().message(`${index}`));
      const messages = [late, ...many, buried, many[0] ?? late];
      const outcomes = await store.insert(
        messages.map((message) => ({ message, owedTo: [] })),
        NOW_MS,
      );
      expect(outcomes).toEqual(['expired', ...many.map(() => 'stored'), 'buried', 'duplicate']);
    });
  });

  describe('pending', () => {
    test('gives the head of the mailbox in order of acceptance', async () => {
      for (const acceptedMs of [5, 3, 9, 1, 7]) {
        await insert(mailbox.message(`at ${acceptedMs}`, { acceptedMs }));
      }
      const found = await store.pending(mailbox.tag, 3, NOW_MS);
      expect(found.map(({ acceptedMs }) => acceptedMs)).toEqual([1, 3, 5]);
    });

    test('leaves out what has expired, however much of it is at the head', async () => {
      const insertions = Array.from({ length: 200 }, (_, index) => ({
        message: mailbox.message(`${index}`, { acceptedMs: index, expiresMs: index < 190 ? 20_000 : 30_000 }),
        owedTo: [],
      }));
      await store.insert(insertions, NOW_MS);
      const found = await store.pending(mailbox.tag, 5, 20_000);
      expect(found.map(({ acceptedMs }) => acceptedMs)).toEqual([190, 191, 192, 193, 194]);
    });

    test('of a mailbox that nobody ever sent to is empty', async () => {
      expect(await store.pending(mailbox.tag, 10, NOW_MS)).toEqual([]);
    });
  });

  describe('an ack', () => {
    test('deletes what it names and nothing else', async () => {
      const [one, two] = [mailbox.message('one'), mailbox.message('two')];
      await insert(one);
      await insert(two);
      expect(await store.bury([{ ack: mailbox.ack([one.id], 0), owedTo: [] }], NOW_MS)).toEqual([true]);
      expect((await store.pending(mailbox.tag, 10, NOW_MS)).map(({ id }) => id)).toEqual([two.id]);
      expect(await store.load([referenceTo(one)])).toEqual([undefined]);
    });

    test('that comes before its message buries it', async () => {
      const message = mailbox.message('one');
      await store.bury([{ ack: mailbox.ack([message.id], 100_000), owedTo: [] }], NOW_MS);
      expect(await insert(message, ['gcp'])).toEqual(['buried']);
      expect(await store.pending(mailbox.tag, 10, NOW_MS)).toEqual([]);
      expect(await store.owed('gcp', LATER_MS, 10)).toEqual([]);
    });

    test('that comes twice is new once and owed once', async () => {
      const ack = mailbox.ack([mailbox.message('one').id], 100_000);
      expect(await store.bury([{ ack, owedTo: ['gcp'] }], NOW_MS)).toEqual([true]);
      const reference: Reference = { kind: 'ack', mailbox: mailbox.tag, id: ack.id };
      await store.settle([{ sites: ['gcp'], references: [reference] }]);
      expect(await store.bury([{ ack, owedTo: ['gcp'] }], NOW_MS)).toEqual([false]);
      expect(await store.owed('gcp', LATER_MS, 10)).toEqual([]);
    });

    test('can be loaded again as it was signed', async () => {
      const ack = mailbox.ack([mailbox.message('one').id, mailbox.message('two').id], 100_000);
      await store.bury([{ ack, owedTo: [] }], NOW_MS);
      const [loaded] = await store.load([{ kind: 'ack', mailbox: mailbox.tag, id: ack.id }]);
      expect(Buffer.from(loaded?.record ?? []).equals(ack.record)).toBe(true);
    });

    test('of the largest size deletes all that it names', async () => {
      const messages = Array.from({ length: 512 }, (_, index) => mailbox.message(`${index}`));
      await store.insert(
        messages.map((message) => ({ message, owedTo: [] })),
        NOW_MS,
      );
      const ids = messages.map(({ id }) => id);
      await store.bury([{ ack: mailbox.ack(ids, 0), owedTo: [] }], NOW_MS);
      expect(await store.pending(mailbox.tag, 10, NOW_MS)).toEqual([]);
      expect(await insert(mailbox.message('511'))).toEqual(['buried']);
    });

    test('outlives each message it deleted, however short its own life was to be', async () => {
      const message = mailbox.message('one', { expiresMs: 50_000 });
      await insert(message);
      await store.bury([{ ack: mailbox.ack([message.id], 0), owedTo: [] }], NOW_MS);
      await store.expire(50_000 + TOMBSTONE_SLACK_MS - 1, 100);
      const forgotten = mailbox.message('one', { expiresMs: 60_000 + TOMBSTONE_SLACK_MS });
      expect(await insert(forgotten)).toEqual(['buried']);
    });

    test('outlives a message that came after it', async () => {
      const message = mailbox.message('one', { expiresMs: 90_000 });
      await store.bury([{ ack: mailbox.ack([message.id], 20_000), owedTo: [] }], NOW_MS);
      expect(await insert(message)).toEqual(['buried']);
      await store.expire(90_000 + TOMBSTONE_SLACK_MS - 1, 100);
      expect(await insert(message)).toEqual(['buried']);
    });

    test('is forgotten in the end, with its tombstones', async () => {
      const message = mailbox.message('one');
      const ack = mailbox.ack([message.id], 20_000);
      await store.bury([{ ack, owedTo: [] }], NOW_MS);
      await store.expire(20_000 + TOMBSTONE_SLACK_MS, 100);
      expect(await listAll(store, 100)).toEqual([]);
      expect(await store.load([{ kind: 'ack', mailbox: mailbox.tag, id: ack.id }])).toEqual([undefined]);
      expect(await insert(message)).toEqual(['stored']);
    });

    test('that ends sooner than another of the same message does not take its tombstone along', async () => {
      const [one, two] = [mailbox.message('one'), mailbox.message('two')];
      const short = mailbox.ack([one.id, two.id], 20_000);
      const long = mailbox.ack([one.id], 40_000);
      for (const [first, second] of [
        [short, long],
        [long, short],
      ] as const) {
        const fresh = await open();
        await fresh.bury([{ ack: first, owedTo: [] }], NOW_MS);
        await fresh.bury([{ ack: second, owedTo: [] }], NOW_MS);
        await fresh.expire(20_000 + TOMBSTONE_SLACK_MS, 100);
        expect(await fresh.insert([{ message: one, owedTo: [] }], NOW_MS)).toEqual(['buried']);
        expect(await fresh.insert([{ message: two, owedTo: [] }], NOW_MS)).toEqual(['stored']);
      }
    });
  });

  describe('the outbox', () => {
    test('has an entry for each site that is owed, from the time of the write', async () => {
      const message = mailbox.message('one');
      await insert(message, ['gcp', 'hetzner']);
      expect(await store.owed('gcp', NOW_MS, 10)).toEqual([]);
      expect(await store.owed('gcp', NOW_MS + 1, 10)).toEqual([referenceTo(message)]);
      expect(await store.owed('hetzner', NOW_MS + 1, 10)).toEqual([referenceTo(message)]);
      expect(await store.owed('aws', NOW_MS + 1, 10)).toEqual([]);
    });

    test('forgets what is settled, for that site only', async () => {
      const message = mailbox.message('one');
      await insert(message, ['gcp', 'hetzner']);
      await store.settle([{ sites: ['gcp'], references: [referenceTo(message)] }]);
      expect(await store.owed('gcp', LATER_MS, 10)).toEqual([]);
      expect(await store.owed('hetzner', LATER_MS, 10)).toHaveLength(1);
      await store.settle([{ sites: ['gcp'], references: [referenceTo(message)] }]);
    });

    test('gives the oldest of a mailbox first, and no more than asked for', async () => {
      for (const [index, name] of ['c', 'a', 'b'].entries()) {
        await insert(mailbox.message(name), ['gcp'], NOW_MS + index);
      }
      const owed = await store.owed('gcp', LATER_MS, 100);
      expect(owed.map(({ id }) => id)).toEqual(['c', 'a', 'b'].map((name) => mailbox.message(name).id));
      const some = await store.owed('gcp', LATER_MS, 2);
      expect(some[0]?.id).toBe(mailbox.message('c').id);
      expect(some.length).toBeLessThanOrEqual(2);
    });

    test('lets no partition starve another', async () => {
      const mailboxes = Array.from({ length: 40 }, createTestMailbox);
      const insertions = mailboxes.map((each) => ({ message: each.message('one'), owedTo: ['gcp'] }));
      await store.insert(insertions, NOW_MS);
      const seen = new Set<string>();
      for (let round = 0; round < PARTITIONS.length; round += 1) {
        for (const { mailbox } of await store.owed('gcp', LATER_MS, 1)) seen.add(partitionOf(mailbox));
      }
      expect(seen).toEqual(new Set(mailboxes.map(({ tag }) => partitionOf(tag))));
    });

    test('is counted, with the age of its oldest entry', async () => {
      await insert(mailbox.message('one'), ['gcp'], NOW_MS + 5);
      await insert(createTestMailbox().message('two'), ['gcp', 'aws'], NOW_MS + 2);
      expect(await store.debts(['aws', 'gcp', 'hetzner'])).toEqual(
        new Map([
          ['aws', { count: 1, oldestMs: NOW_MS + 2 }],
          ['gcp', { count: 2, oldestMs: NOW_MS + 2 }],
          ['hetzner', { count: 0, oldestMs: undefined }],
        ]),
      );
    });
  });

  describe('references', () => {
    test('are loaded in the order asked, undefined for what is not here', async () => {
      const one = mailbox.message('one');
      const ack = mailbox.ack([mailbox.message('gone').id], 100_000);
      await insert(one);
      await store.bury([{ ack, owedTo: [] }], NOW_MS);
      const unknown: Reference = { kind: 'ack', mailbox: mailbox.tag, id: one.id };
      const loaded = await store.load([
        unknown,
        { kind: 'ack', mailbox: mailbox.tag, id: ack.id },
        referenceTo(mailbox.message('gone')),
        referenceTo(one),
      ]);
      expect(loaded.map((thing) => thing?.id)).toEqual([undefined, ack.id, undefined, one.id]);
    });

    test('are missing when they are neither here nor buried here', async () => {
      const [here, buried, never] = ['here', 'buried', 'never'].map((name) => mailbox.message(name));
      if (here === undefined || buried === undefined || never === undefined) throw new Error('three');
      const ack = mailbox.ack([buried.id], 100_000);
      await insert(here);
      await store.bury([{ ack, owedTo: [] }], NOW_MS);
      const neverAcked: Reference = { kind: 'ack', mailbox: mailbox.tag, id: never.id };
      const asked = [referenceTo(here), referenceTo(buried), referenceTo(never), neverAcked];
      expect(await store.missing([...asked, { kind: 'ack', mailbox: mailbox.tag, id: ack.id }])).toEqual([
        referenceTo(never),
        neverAcked,
      ]);
    });

    test('are listed in pages, and what stays there is listed although others come and go', async () => {
      const stays = Array.from({ length: 300 }, (_, index) => mailbox.message(`stays ${index}`));
      const goes = Array.from({ length: 300 }, (_, index) => mailbox.message(`goes ${index}`));
      const all = [...stays, ...goes].map((message) => ({ message, owedTo: [] }));
      await store.insert(all, NOW_MS);
      const seen = new Set<string>();
      let cursor = '';
      let pages = 0;
      do {
        const page = await store.list(partitionOf(mailbox.tag), cursor, 50);
        for (const { id } of page.references) seen.add(id);
        cursor = page.cursor;
        const gone = goes.splice(0, 50).map(({ id }) => id);
        if (gone.length > 0) await store.bury([{ ack: mailbox.ack(gone, 100_000), owedTo: [] }], NOW_MS);
        await insert(mailbox.message(`comes ${pages}`));
        pages += 1;
      } while (cursor !== '');
      expect(pages).toBeGreaterThan(3);
      for (const { id } of stays) expect(seen.has(id)).toBe(true);
    });

    test('of a cursor that no store gave are none', async () => {
      await insert(mailbox.message('one'));
      const page = await store.list(partitionOf(mailbox.tag), '~', 10);
      expect(page).toEqual({ references: [], cursor: '' });
    });
  });

  describe('expiry', () => {
    test('discards what is over, and only that', async () => {
      const over = mailbox.message('over', { expiresMs: 20_000 });
      const lasts = mailbox.message('lasts', { expiresMs: 20_001 });
      await insert(over);
      await insert(lasts);
      expect(await store.expire(20_000, 100)).toBe(1);
      expect(await store.load([referenceTo(over), referenceTo(lasts)])).toMatchObject([
        undefined,
        { id: lasts.id },
      ]);
      expect(await listAll(store, 100)).toEqual([referenceTo(lasts)]);
    });

    test('goes in steps of the limit', async () => {
      const insertions = Array.from({ length: 250 }, (_, index) => ({
        message: mailbox.message(`${index}`),
        owedTo: [],
      }));
      await store.insert(insertions, NOW_MS);
      expect(await store.expire(EXPIRED_MS, 100)).toBe(100);
      expect(await store.expire(EXPIRED_MS, 100)).toBe(100);
      expect(await store.expire(EXPIRED_MS, 100)).toBe(50);
      expect(await store.expire(EXPIRED_MS, 100)).toBe(0);
    });

    test('does not count tombstones as messages', async () => {
      const message = mailbox.message('one');
      await store.bury([{ ack: mailbox.ack([message.id], 20_000), owedTo: [] }], NOW_MS);
      expect(await store.expire(Number.MAX_SAFE_INTEGER, 100)).toBe(0);
      expect(await listAll(store, 100)).toEqual([]);
    });
  });

  test('listeners are woken when a message is stored and when it is buried', async () => {
    const woken: string[] = [];
    const next = nextWake(store, woken);
    await insert(mailbox.message('one'));
    await next();
    expect(woken).toEqual([mailbox.tag]);
    await store.bury([{ ack: mailbox.ack([mailbox.message('one').id], 0), owedTo: [] }], NOW_MS);
    await next();
    expect(woken).toEqual([mailbox.tag, mailbox.tag]);
  });

  test('nothing asked is nothing done', async () => {
    expect(await store.insert([], NOW_MS)).toEqual([]);
    expect(await store.bury([], NOW_MS)).toEqual([]);
    await store.settle([]);
    expect(await store.load([])).toEqual([]);
    expect(await store.missing([])).toEqual([]);
    expect(await store.buriedBy([])).toEqual([]);
    await store.ping();
  });
}

/** Everything in a store, without repeats, in an order of its own. */
export async function listAll(store: MessageStore, limit: number): Promise<readonly Reference[]> {
  const found = new Map<string, Reference>();
  for (const partition of PARTITIONS) {
    let cursor = '';
    do {
      const page = await store.list(partition, cursor, limit);
      for (const { kind, mailbox, id } of page.references) {
        const reference: Reference = { kind, mailbox, id };
        found.set(JSON.stringify(reference), reference);
      }
      cursor = page.cursor;
    } while (cursor !== '');
  }
  return [...found.keys()].sort().map((key) => found.get(key) as Reference);
}

/** Collects the wake-ups of a store in `woken`; the function given resolves at the next one not waited for yet. */
export function nextWake(store: MessageStore, woken: string[]): () => Promise<void> {
  let waitedFor = 0;
  let waiting = Promise.withResolvers<void>();
  store.onChange(
    (mailbox) => {
      woken.push(mailbox);
      waiting.resolve();
    },
    () => true,
  );
  return async () => {
    waitedFor += 1;
    while (woken.length < waitedFor) {
      waiting = Promise.withResolvers<void>();
      await waiting.promise;
    }
  };
}
