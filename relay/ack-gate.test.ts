/** How many acks of unknown messages become tombstones. */
import { expect, test } from 'vitest';
import { createTestMailbox, type TestMailbox } from '../test/support/mailbox.ts';
import { createManualClock } from '../test/support/manual-clock.ts';
import { createRecordedEvents } from '../test/support/recorded-events.ts';
import { AcksTooFast, type BuryAck, CONNECTION_UNKNOWN_MAX, createAckGate } from './ack-gate.ts';
import { createMemoryStore } from './adapters/memory-store.ts';
import { partitionOf } from './core/mailbox.ts';
import type { MessageId } from './core/message.ts';
import type { MessageStore } from './ports.ts';

const clock = createManualClock();

interface Gate {
  readonly store: MessageStore;
  readonly open: () => BuryAck;
  readonly happened: readonly string[];
}

function gate(fullness = 0): Gate {
  const store = createMemoryStore();
  const events = createRecordedEvents();
  const open = createAckGate({
    store,
    bury: async (ack) => void (await store.bury([{ ack, owedTo: [] }], 0)),
    fullness: () => fullness,
    clock,
    events,
  });
  return { store, open, happened: events.happened };
}

let made = 0;
function madeUp(count: number): MessageId[] {
  return Array.from({ length: count }, () => {
    made += 1;
    const id = Buffer.alloc(16);
    id.writeUInt32BE(made);
    return id.toString('base64url') as MessageId;
  });
}

/** Acks so many made-up ids; whether they were buried. */
async function ackMadeUp(bury: BuryAck, mailbox: TestMailbox, count: number): Promise<boolean> {
  const ids = madeUp(count);
  return bury(mailbox.ack(ids, 100_000), ids).then(
    () => true,
    (error: unknown) => {
      expect(error).toBeInstanceOf(AcksTooFast);
      return false;
    },
  );
}

test('an ack that comes before its message is kept, and counted', async () => {
  const { open, store, happened } = gate();
  const mailbox = createTestMailbox();
  const early = mailbox.message('early');
  await open()(mailbox.ack([early.id], 100_000), [early.id]);
  expect(await store.insert([{ message: early, owedTo: [] }], 0)).toEqual(['buried']);
  expect(happened).toEqual(['ackedUnknown 1']);
});

test('of one mailbox a thousand unknown ids are kept at once, and what it was sent is acked all the same', async () => {
  const { open, store } = gate();
  const mailbox = createTestMailbox();
  expect(await ackMadeUp(open(), mailbox, 512)).toBe(true);
  expect(await ackMadeUp(open(), mailbox, 512)).toBe(true);
  expect(await ackMadeUp(open(), mailbox, 1)).toBe(false);
  const [here, sent] = [mailbox.message('here'), mailbox.message('sent')];
  await store.insert([{ message: here, owedTo: [] }], 0);
  await open()(mailbox.ack([here.id], 100_000), [here.id]);
  await open()(mailbox.ack([sent.id], 100_000), []);
  expect(await ackMadeUp(open(), createTestMailbox(), 1)).toBe(true);
  clock.advance(1000);
  expect(await ackMadeUp(open(), mailbox, 8)).toBe(true);
});

test('one connection does not get further with many mailboxes', async () => {
  const bury = gate().open();
  let kept = 0;
  for (let count = 0; count < 20; count += 1) {
    if (await ackMadeUp(bury, createTestMailbox(), 512)) kept += 512;
  }
  expect(kept).toBe(CONNECTION_UNKNOWN_MAX);
});

test('many connections together do not get further than the relay allows', async () => {
  const { open } = gate();
  let kept = 0;
  for (let count = 0; count < 80; count += 1) {
    if (await ackMadeUp(open(), createTestMailbox(), 512)) kept += 512;
  }
  expect(kept).toBe(32_768);
});

test('a store that runs short of memory keeps none, and is freed by what names old ones as well', async () => {
  const { open, store } = gate(0.8);
  const mailbox = createTestMailbox();
  const old = madeUp(64);
  await store.bury([{ ack: mailbox.ack(old, 100_000), owedTo: [] }], 0);
  expect(await ackMadeUp(open(), mailbox, 1)).toBe(false);
  const here = mailbox.message('here');
  await store.insert([{ message: here, owedTo: [] }], 0);
  await open()(mailbox.ack([here.id, ...old], 100_000), [here.id, ...old]);
  expect(await store.pending(mailbox.tag, 1, 0)).toEqual([]);
});

/** The acks that a store keeps, as far as a first page tells. */
async function acksIn(store: MessageStore, mailbox: TestMailbox): Promise<number> {
  const { references } = await store.list(partitionOf(mailbox.tag), '', 4096);
  return references.filter(({ kind }) => kind === 'ack').length;
}

test('what is buried already leaves nothing behind, however it is chosen again', async () => {
  const { open, store, happened } = gate();
  const mailbox = createTestMailbox();
  const ids = madeUp(512);
  const bury = open();
  await bury(mailbox.ack(ids, 100_000), ids);
  for (let from = 1; from < 100; from += 1)
    await bury(mailbox.ack(ids.slice(from), 100_000), ids.slice(from));
  expect(await acksIn(store, mailbox)).toBe(1);
  expect(happened).toEqual(['ackedUnknown 512']);
});

test('what is buried already counts for the room that it takes beside something new', async () => {
  const { open, store } = gate();
  const mailbox = createTestMailbox();
  const ids = madeUp(480);
  const bury = open();
  await bury(mailbox.ack(ids, 100_000), ids);
  let kept = 0;
  for (const id of madeUp(100)) {
    const isKept = await bury(mailbox.ack([id, ...ids], 100_000), [id, ...ids]).then(
      () => true,
      () => false,
    );
    if (isKept) kept += 1;
  }
  // Of the 544 that are left of a thousand each takes 31.
  expect(kept).toBe(17);
  expect(await acksIn(store, mailbox)).toBe(18);
});
