/** What senders may leave in a mailbox and in a store that runs short. */
import { expect, test } from 'vitest';
import { createFakeClock } from '../test/support/fake-clock.ts';
import { createTestMailbox } from '../test/support/mailbox.ts';
import { createMemoryStore } from './adapters/memory-store.ts';
import { URGENCIES, type Urgency } from './core/message.ts';
import { type MessageStore, StoreUnavailable } from './ports.ts';
import { createQuotas, type Quotas, type QuotasDeps } from './quotas.ts';

const MIB = 1024 * 1024;
const clock = createFakeClock();
const mailbox = createTestMailbox();

function quotasOver(store: QuotasDeps['store'], isConnected = false, messages = 100): Quotas {
  return createQuotas({
    store,
    isConnected: () => isConnected,
    mailbox: { messages, bytes: 4 * MIB },
    unclaimed: { messages: 20, bytes: 4 * MIB },
    unclaimedTtlSecondsMax: 600,
    clock,
  });
}

/** Sends until one is refused; gives how many were stored and why it stopped. */
async function fill(store: MessageStore, quotas: Quotas, bytes = 10): Promise<readonly [number, string]> {
  for (let count = 0; ; count += 1) {
    const message = mailbox.message(`m${bytes} ${count}`, { body: Buffer.alloc(bytes) });
    const refusal = await quotas.refuses({ mailbox: mailbox.tag, urgency: 'normal', bytes });
    if (refusal !== undefined) return [count, refusal];
    await store.insert([{ message, owedTo: [] }], 0);
  }
}

async function ackFirst(store: MessageStore): Promise<void> {
  const [first] = await store.pending(mailbox.tag, 1, 0);
  if (first === undefined) throw new Error('nothing there');
  await store.bury([{ ack: mailbox.ack([first.id], 100_000), owedTo: [] }], 0);
}

test('a mailbox of which nothing was ever acked holds little, and more once something was', async () => {
  const store = createMemoryStore();
  const quotas = quotasOver(store);
  expect(await fill(store, quotas)).toEqual([20, 'mailbox_full']);
  await ackFirst(store);
  await store.expire(1e9, 1000);
  const claimed = createMemoryStore();
  await claimed.insert([{ message: mailbox.message('first'), owedTo: [] }], 0);
  await ackFirst(claimed);
  expect(await fill(claimed, quotasOver(claimed))).toEqual([100, 'mailbox_full']);
});

test('a mailbox whose owner is connected is nobody’s orphan', async () => {
  const store = createMemoryStore();
  expect(await fill(store, quotasOver(store, true))).toEqual([100, 'mailbox_full']);
});

test('bytes count too', async () => {
  const store = createMemoryStore();
  const [count, refusal] = await fill(store, quotasOver(store, true), MIB / 2);
  expect(refusal).toBe('mailbox_full');
  expect(count).toBe(7);
});

test('a mailbox with much room is looked at rarely, and one that is nearly full often', async () => {
  const looksFor = async (messages: number): Promise<number> => {
    let looks = 0;
    const quotas = quotasOver(
      {
        usage: async () => {
          looks += 1;
          return { messages, bytes: 0, isClaimed: true };
        },
        fullness: async () => 0,
      },
      true,
      100_000,
    );
    for (let count = 0; count < 1000; count += 1) {
      await quotas.refuses({ mailbox: mailbox.tag, urgency: 'normal', bytes: 10 });
    }
    return looks;
  };
  // 16 come before the first look; then 1562 may, of 100,000, or 16 at a time, of 1000.
  expect(await looksFor(0)).toBe(1);
  expect(await looksFor(99_000)).toBe(62);
});

test('a full mailbox takes messages again once it was read', async () => {
  const store = createMemoryStore();
  const quotas = quotasOver(store);
  await fill(store, quotas);
  await ackFirst(store);
  expect(await quotas.refuses({ mailbox: mailbox.tag, urgency: 'low', bytes: 1 })).toBeUndefined();
});

test('a message waits for a short time in a mailbox that nobody has read, and as long as asked in any other', async () => {
  const store = createMemoryStore();
  const quotas = quotasOver(store);
  expect(await quotas.ttlSeconds(mailbox.tag, 86_400)).toBe(600);
  expect(await quotas.ttlSeconds(mailbox.tag, 599)).toBe(599);
  expect(await quotasOver(store, true).ttlSeconds(mailbox.tag, 86_400)).toBe(86_400);
  await store.insert([{ message: mailbox.message('first'), owedTo: [] }], 0);
  await ackFirst(store);
  await clock.advance(5001);
  expect(await quotas.ttlSeconds(mailbox.tag, 86_400)).toBe(86_400);
});

test('whether anybody reads a mailbox is asked rarely, and never when its messages are short-lived', async () => {
  let asked = 0;
  const quotas = quotasOver({
    usage: async () => {
      asked += 1;
      return { messages: 0, bytes: 0, isClaimed: asked > 1 };
    },
    fullness: async () => 0,
  });
  for (const _ of [1, 2, 3]) await quotas.ttlSeconds(mailbox.tag, 60);
  expect(asked).toBe(0);
  for (const _ of [1, 2, 3]) await quotas.ttlSeconds(mailbox.tag, 86_400);
  expect(asked).toBe(1);
  await clock.advance(5001);
  for (const _ of [1, 2, 3]) expect(await quotas.ttlSeconds(mailbox.tag, 86_400)).toBe(86_400);
  await clock.advance(86_400_000);
  expect(await quotas.ttlSeconds(mailbox.tag, 86_400)).toBe(86_400);
  expect(asked).toBe(2);
});

test('a store that cannot be asked refuses nothing by quota', async () => {
  const quotas = quotasOver({
    usage: () => Promise.reject(new StoreUnavailable('away')),
    fullness: () => Promise.reject(new StoreUnavailable('away')),
  });
  for (let count = 0; count < 200; count += 1) {
    expect(await quotas.refuses({ mailbox: mailbox.tag, urgency: 'low', bytes: 1 })).toBeUndefined();
  }
  expect(await quotas.ttlSeconds(mailbox.tag, 86_400)).toBe(86_400);
});

async function takenAt(fullness: number, isClaimed: boolean): Promise<readonly Urgency[]> {
  const quotas = quotasOver({
    usage: async () => ({ messages: 0, bytes: 0, isClaimed }),
    fullness: async () => fullness,
  });
  const stopping = new AbortController();
  const running = quotas.run(stopping.signal);
  await clock.settle();
  const taken: Urgency[] = [];
  for (const urgency of URGENCIES) {
    const refusal = await quotas.refuses({ mailbox: mailbox.tag, urgency, bytes: 1 });
    if (refusal === undefined) taken.push(urgency);
    else expect(refusal).toBe('memory_short');
  }
  stopping.abort(new Error('done'));
  await running;
  return taken;
}

test.each<[number, readonly Urgency[], readonly Urgency[]]>([
  [0.79, URGENCIES, URGENCIES],
  [0.8, ['low', 'normal', 'high'], []],
  [0.86, ['normal', 'high'], []],
  [0.91, ['high'], []],
  [0.96, [], []],
])('a store that is full to %d takes what is urgent and claimed', async (fullness, claimed, unclaimed) => {
  expect(await takenAt(fullness, true)).toEqual(claimed);
  expect(await takenAt(fullness, false)).toEqual(unclaimed);
});
