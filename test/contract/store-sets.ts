/**
 * What every message store knows of a partition as a set: its digest, which tells whether two stores hold the same,
 * what of a list is lacking, and what of it is buried.
 */
import { beforeEach, describe, expect, test } from 'vitest';
import { TOMBSTONE_SLACK_MS } from '../../relay/core/ack.ts';
import { type Digest, emptyDigest, sliceOf, totalOf, weightOf } from '../../relay/core/digest.ts';
import { PARTITIONS, partitionOf } from '../../relay/core/mailbox.ts';
import type { Message } from '../../relay/core/message.ts';
import { type Reference, referenceTo } from '../../relay/core/reference.ts';
import { type Epoch, type MessageStore, OUTBOX_ENTRIES_MAX } from '../../relay/ports.ts';
import { createTestMailbox, type TestMailbox } from '../support/mailbox.ts';

const NOW_MS = 10_000;

/** Runs the facts; `open` gives an empty store, which the caller closes. */
export function describeSets(open: () => Promise<MessageStore>): void {
  let store: MessageStore;
  let mailbox: TestMailbox;
  beforeEach(async () => {
    store = await open();
    mailbox = createTestMailbox();
  });
  const insert = (...messages: readonly Message[]): Promise<unknown> =>
    store.insert(
      messages.map((message) => ({ message, owedTo: [] })),
      NOW_MS,
    );
  const digest = async (fromMs = NOW_MS): Promise<Digest | undefined> => {
    const [found] = await store.digest([partitionOf(mailbox.tag)], fromMs);
    return found?.map((sum) => BigInt.asUintN(64, sum));
  };

  test('messages tell which ack buries them, as far as one does', async () => {
    const other = createTestMailbox();
    const [one, two, kept] = ['one', 'two', 'kept'].map((name) => mailbox.message(name));
    if (one === undefined || two === undefined || kept === undefined) throw new Error('three');
    const elsewhere = other.message('one');
    const ack = mailbox.ack([one.id, two.id], 100_000);
    const retraction = mailbox.retraction([kept.id], 100_000);
    await insert(one, kept);
    expect(await store.buriedBy([referenceTo(one), referenceTo(kept)])).toEqual([undefined, undefined]);
    await store.bury(
      [ack, retraction].map((each) => ({ ack: each, owedTo: [] })),
      NOW_MS,
    );
    const reference: Reference = { kind: 'ack', mailbox: mailbox.tag, id: ack.id };
    // One of another mailbox has the same id; a retraction is no ack.
    const asked = [two, elsewhere, one, kept, two].map((each) => referenceTo(each));
    expect(await store.buriedBy(asked)).toEqual([reference, undefined, reference, undefined, reference]);
    const many = Array.from({ length: 600 }, (_, place) =>
      place === 599 ? one : mailbox.message(`${place}`),
    );
    const found = await store.buriedBy(many.map((each) => referenceTo(each)));
    expect([found.length, found.filter((each) => each !== undefined)]).toEqual([600, [reference]]);
  });

  test('messages are known by the index of their mailbox, until they are buried', async () => {
    const other = createTestMailbox();
    const many = Array.from({ length: 600 }, (_, place) => mailbox.message(`${place}`));
    const here = many.filter((_, place) => place % 3 === 0);
    await insert(...here, other.message('1'));
    const asked = [...many, other.message('1'), other.message('2')].map((each) => referenceTo(each));
    const known = [...many.map((each) => here.includes(each)), true, false];
    expect(await store.indexed(asked)).toEqual(known);
    const [first] = here;
    if (first === undefined) throw new Error('none');
    await store.bury([{ ack: mailbox.ack([first.id], 100_000), owedTo: [] }], NOW_MS);
    expect(await store.indexed(asked)).toEqual([false, ...known.slice(1)]);
    expect(await store.indexed([])).toEqual([]);
  });

  describe('the digest of a partition', () => {
    test('is that of what it holds, in whatever order and however often it came', async () => {
      const many = Array.from({ length: 300 }, (_, index) => mailbox.message(`${index}`));
      await insert(...many);
      await insert(...many.toReversed());
      expect(await digest()).toEqual(digestOf(...many));
      expect(await store.digest(PARTITIONS, NOW_MS)).toHaveLength(256);
    });

    test('changes when a message lives longer, and is what it was when it is gone', async () => {
      await insert(mailbox.message('one', { expiresMs: 20_000 }));
      await insert(mailbox.message('one', { expiresMs: 30_000 }));
      expect(await digest()).toEqual(digestOf(mailbox.message('one', { expiresMs: 30_000 })));
      await store.expire(30_000, 100);
      expect(await digest()).toEqual(emptyDigest());
    });

    test('is the same whether what has expired was swept already or not', async () => {
      const leaves = mailbox.message('leaves', { expiresMs: 20_000 });
      const stays = mailbox.message('stays', { expiresMs: 20_001 });
      await insert(leaves, stays);
      const before = await digest(20_000);
      await store.expire(20_000, 100);
      expect(before).toEqual(digestOf(stays));
      expect(await digest(20_000)).toEqual(before);
    });

    test('has tombstones, however long they are remembered, and not what they buried', async () => {
      const [one, two] = [mailbox.message('one'), mailbox.message('two', { expiresMs: 90_000 })];
      const ack = mailbox.ack([one.id, two.id], 20_000);
      await insert(one);
      await store.bury([{ ack, owedTo: [] }], NOW_MS);
      const after = await digest();
      expect(totalOf(after ?? [])).not.toBe(totalOf(digestOf()));
      const other = await open();
      await other.bury([{ ack, owedTo: [] }], NOW_MS);
      await other.insert([{ message: two, owedTo: [] }], NOW_MS);
      const [theirs] = await other.digest([partitionOf(mailbox.tag)], NOW_MS);
      expect(theirs?.map((sum) => BigInt.asUintN(64, sum))).toEqual(after);
    });
  });

  describe('what is lacking', () => {
    test('is also what lives shorter here than where it was listed', async () => {
      const message = mailbox.message('one', { expiresMs: 20_000 });
      await insert(message);
      const reference = { kind: 'message', mailbox: mailbox.tag, id: message.id } as const;
      const asked = [20_000, 20_001].map((untilMs) => ({ ...reference, untilMs }));
      expect(await store.missing(asked)).toEqual([asked[1]]);
      const ack = mailbox.ack([mailbox.message('two').id], 20_000);
      await store.bury([{ ack, owedTo: [] }], NOW_MS);
      const acked = { kind: 'ack', mailbox: mailbox.tag, id: ack.id, untilMs: 1e15 } as const;
      // How long a tombstone is remembered is each site's own affair.
      expect(await store.missing([acked])).toEqual([]);
    });

    test('is what the list of another store says, with its expiry', async () => {
      const message = mailbox.message('one', { expiresMs: 20_000 });
      await insert(message);
      await store.bury([{ ack: mailbox.ack([mailbox.message('two').id], 30_000), owedTo: [] }], NOW_MS);
      const { references } = await store.list(partitionOf(mailbox.tag), '', 100);
      expect(new Set(references.map(({ kind, untilMs }) => `${kind} ${untilMs}`))).toEqual(
        new Set(['message 20000', `ack ${30_000 + TOMBSTONE_SLACK_MS}`]),
      );
    });
  });

  test('an outbox that is full takes no more, says so, and the messages are stored all the same', async () => {
    let full = 0;
    store.onOutboxFull((count) => {
      full += count;
    });
    const many = Array.from({ length: OUTBOX_ENTRIES_MAX + 5 }, (_, index) => mailbox.message(`${index}`));
    const insertions = many.map((message) => ({ message, owedTo: ['gcp'] }));
    expect(new Set(await store.insert(insertions, NOW_MS))).toEqual(new Set(['stored']));
    const ack = mailbox.ack([mailbox.message('other').id], 30_000);
    expect(await store.bury([{ ack, owedTo: ['gcp', 'hetzner'] }], NOW_MS)).toEqual([true]);
    // At the latest when somebody looks.
    await store.owed('gcp', NOW_MS + 1, 1);
    expect(full).toBe(6);
    expect((await store.debts(['gcp'])).get('gcp')?.count).toBe(OUTBOX_ENTRIES_MAX);
  });

  test('the epoch is absent at first, and is replaced only by whoever knows which one it was', async () => {
    expect(await store.readEpoch()).toBeUndefined();
    expect(await store.replaceEpoch(epochOf('x'), epochOf('a'))).toBe(false);
    expect(await store.replaceEpoch(undefined, epochOf('a'))).toBe(true);
    expect(await store.replaceEpoch(undefined, epochOf('b'))).toBe(false);
    expect(await store.readEpoch()).toEqual(epochOf('a'));
    const outcomes = await Promise.all(
      ['c', 'd', 'e'].map((id) => store.replaceEpoch(epochOf('a'), epochOf(id))),
    );
    expect(outcomes.filter(Boolean)).toHaveLength(1);
  });

  test('verifying reads everything, and finds nothing where nothing is damaged', async () => {
    let damages = 0;
    store.onDamage(() => {
      damages += 1;
    });
    const many = Array.from({ length: 300 }, (_, index) => mailbox.message(`${index}`));
    await insert(...many);
    await store.bury(
      [{ ack: mailbox.ack([many[0]?.id ?? mailbox.message('').id], 30_000), owedTo: [] }],
      NOW_MS,
    );
    const before = await digest();
    let checked = 0;
    let cursor = '';
    do {
      const page = await store.verify(partitionOf(mailbox.tag), cursor, 50);
      checked += page.checked;
      cursor = page.cursor;
    } while (cursor !== '');
    expect(checked).toBeGreaterThanOrEqual(300);
    expect(damages).toBe(0);
    expect(await digest()).toEqual(before);
  });
}

function digestOf(...messages: readonly Message[]): Digest {
  const sums = emptyDigest();
  for (const { id, mailbox, expiresMs } of messages) {
    const reference = { kind: 'message', mailbox, id } as const;
    sums[sliceOf(reference)] = (sums[sliceOf(reference)] ?? 0n) + weightOf(reference, expiresMs);
  }
  return sums;
}

function epochOf(id: string): Epoch {
  return { id, refilledFrom: ['gcp', 'hetzner'], seenMs: 7 };
}
