/**
 * What is owed gets drained, whatever the clock said that wrote it down.
 */
import { expect, test } from 'vitest';
import { type LinkedSites, linkSites } from '../../test/support/linked-sites.ts';
import { createTestMailbox, type TestMailbox } from '../../test/support/mailbox.ts';
import { type Partition, partitionOf } from '../core/mailbox.ts';
import { type MessageStore, StoreUnavailable } from '../ports.ts';

test('what was owed while the clock was ahead does not wait for that time to come', async () => {
  await using fleet = linkSites(['aws', 'gcp']);
  const { clock } = fleet;
  await clock.advance(1000);
  const mailbox = createTestMailbox();
  const message = mailbox.message('ahead', {
    acceptedMs: clock.wallMs(),
    expiresMs: clock.wallMs() + 3_600_000,
  });
  await fleet.site('aws').store.insert([{ message, owedTo: ['gcp'] }], clock.wallMs() + 600_000);
  await clock.advance(22_000);
  expect(await fleet.site('gcp').pending(mailbox.tag)).toEqual([message.id]);
  expect(await fleet.site('aws').debts()).toEqual({ gcp: 0 });
});

/** Mailboxes of as many partitions. */
function mailboxesApart(count: number): readonly TestMailbox[] {
  const found = new Map<Partition, TestMailbox>();
  while (found.size < count) {
    const mailbox = createTestMailbox();
    found.set(partitionOf(mailbox.tag), mailbox);
  }
  return [...found.values()];
}

/** The store of a site is without these partitions, as a cluster is whose node has gone, until the returned function is called. */
function takeAway(fleet: LinkedSites, site: string, mailboxes: readonly TestMailbox[]): () => void {
  const { store } = fleet.site(site);
  const whole = { ...store };
  const away = new Set(mailboxes.map(({ tag }) => partitionOf(tag)));
  const isAway = ({ mailbox }: { readonly mailbox: TestMailbox['tag'] }): boolean =>
    away.has(partitionOf(mailbox));
  /** What `write` says of those that are there, in their places. */
  const inPart = async <Item, Outcome>(
    items: readonly Item[],
    isThere: (item: Item) => boolean,
    write: (some: readonly Item[]) => Promise<readonly Outcome[]>,
  ): Promise<readonly (Outcome | StoreUnavailable)[]> => {
    const unavailable = new StoreUnavailable('away');
    if (items.length > 0 && !items.some(isThere)) throw unavailable;
    const written = [...(await write(items.filter(isThere)))];
    return items.map((item) => (isThere(item) ? (written.shift() ?? unavailable) : unavailable));
  };
  Object.assign(store, {
    insert: (insertions, nowMs) =>
      inPart(
        insertions,
        ({ message }) => !isAway(message),
        (some) => whole.insert(some, nowMs),
      ),
    bury: (burials, nowMs) =>
      inPart(
        burials,
        ({ ack }) => !isAway(ack),
        (some) => whole.bury(some, nowMs),
      ),
  } satisfies Pick<MessageStore, 'insert' | 'bury'>);
  return () => void Object.assign(store, whole);
}

test('acks for a part of a store that is away keep neither other acks nor messages waiting', async () => {
  await using fleet = linkSites(['aws', 'gcp']);
  const { clock } = fleet;
  await clock.advance(1000);
  const expiresMs = clock.wallMs() + 3_600_000;
  const mailboxes = mailboxesApart(12);
  // As they are offered by partition, those that are there come last.
  const inOrder = mailboxes.toSorted((a, b) => (a.tag < b.tag ? -1 : 1));
  const there = inOrder.slice(10);
  const giveBack = takeAway(fleet, 'gcp', inOrder.slice(0, 10));
  const { store } = fleet.site('aws');
  for (const mailbox of mailboxes) {
    const message = mailbox.message('waiting', { acceptedMs: clock.wallMs(), expiresMs });
    const ack = mailbox.ack([mailbox.message('acked').id], expiresMs);
    await store.insert([{ message, owedTo: ['gcp'] }], clock.wallMs());
    await store.bury([{ ack, owedTo: ['gcp'] }], clock.wallMs());
  }
  await clock.advance(3000);
  for (const mailbox of there) expect(await fleet.site('gcp').pending(mailbox.tag)).toHaveLength(1);
  expect(await fleet.site('aws').debts()).toEqual({ gcp: 20 });
  giveBack();
  await clock.advance(12_000);
  for (const mailbox of mailboxes) expect(await fleet.site('gcp').pending(mailbox.tag)).toHaveLength(1);
  expect(await fleet.site('aws').debts()).toEqual({ gcp: 0 });
});

test('when a whole store was away its acks are there a moment after it came back, and hardly anything was asked', async () => {
  await using fleet = linkSites(['aws', 'gcp']);
  const { clock } = fleet;
  await clock.advance(1000);
  const mailboxes = mailboxesApart(40);
  const giveBack = takeAway(fleet, 'gcp', mailboxes);
  for (const mailbox of mailboxes) {
    const ack = mailbox.ack([mailbox.message('acked').id], clock.wallMs() + 3_600_000);
    await fleet.site('aws').store.bury([{ ack, owedTo: ['gcp'] }], clock.wallMs());
  }
  await clock.advance(2000);
  fleet.site('gcp').asked.length = 0;
  await clock.advance(1000);
  expect(fleet.site('gcp').asked.filter((type) => type === 'bury').length).toBeLessThan(50);
  giveBack();
  await clock.advance(500);
  expect(await fleet.site('aws').debts()).toEqual({ gcp: 0 });
});

test('an ack that another site does not know keeps nothing waiting', async () => {
  await using fleet = linkSites(['aws', 'gcp']);
  const { clock } = fleet;
  await clock.advance(1000);
  const expiresMs = clock.wallMs() + 3_600_000;
  const mailbox = createTestMailbox();
  const [unknown, known] = ['one', 'two'].map((name) => mailbox.ack([mailbox.message(name).id], expiresMs));
  const { store } = fleet.site('aws');
  for (const ack of [unknown, known]) {
    if (ack !== undefined) await store.bury([{ ack, owedTo: ['gcp'] }], clock.wallMs());
  }
  fleet.onTheWay((request) => {
    if (request.type !== 'bury') return request;
    const records = request.records.map((offer) => {
      const isUnknown = Buffer.compare(offer.record, unknown?.record ?? Buffer.alloc(0)) === 0;
      return isUnknown
        ? { ...offer, record: Buffer.concat([Buffer.of(250), offer.record.subarray(1)]) }
        : offer;
    });
    return { ...request, records };
  });
  await clock.advance(3000);
  const references = [unknown, known].map((ack) => ({
    kind: 'ack' as const,
    mailbox: mailbox.tag,
    id: ack?.id ?? '',
  }));
  expect(await fleet.site('gcp').store.missing(references)).toEqual(references.slice(0, 1));
  expect(await fleet.site('aws').debts()).toEqual({ gcp: 1 });
});
