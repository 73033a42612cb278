/**
 * What every message store says of how much it holds, as facts; part of the contract in `message-store.ts`.
 */
import { beforeEach, describe, expect, test } from 'vitest';
import type { Message } from '../../relay/core/message.ts';
import type { MessageStore } from '../../relay/ports.ts';
import { createTestMailbox, type TestMailbox } from '../support/mailbox.ts';

const NOW_MS = 10_000;
/** Beyond the expiry of the test mailbox's messages. */
const EXPIRED_MS = 100_001;

/** Runs the facts; `open` gives an empty store, which the caller closes. */
export function describeUsage(open: () => Promise<MessageStore>): void {
  let store: MessageStore;
  let mailbox: TestMailbox;

  beforeEach(async () => {
    store = await open();
    mailbox = createTestMailbox();
  });

  const insert = (message: Message) => store.insert([{ message, owedTo: [] }], NOW_MS);

  describe('the usage of a mailbox', () => {
    test('is what it holds now, and says whether anybody has acked', async () => {
      expect(await store.usage(mailbox.tag)).toEqual({ messages: 0, bytes: 0, isClaimed: false });
      const [one, two] = [mailbox.message('one'), mailbox.message('two', { body: Buffer.alloc(100) })];
      await insert(one);
      await insert(one);
      await insert(two);
      const bytes = one.record.length + two.record.length;
      expect(await store.usage(mailbox.tag)).toEqual({ messages: 2, bytes, isClaimed: false });
      await store.bury([{ ack: mailbox.ack([two.id], 100_000), owedTo: [] }], NOW_MS);
      const left = { messages: 1, bytes: one.record.length, isClaimed: true };
      expect(await store.usage(mailbox.tag)).toEqual(left);
      await store.expire(EXPIRED_MS, 10);
      expect(await store.usage(mailbox.tag)).toEqual({ messages: 0, bytes: 0, isClaimed: true });
      expect(await store.usage(createTestMailbox().tag)).toEqual({ messages: 0, bytes: 0, isClaimed: false });
    });

    test('is not claimed by a sender that takes its message back', async () => {
      const one = mailbox.message('one');
      await insert(one);
      const ack = mailbox.retraction([one.id], 100_000);
      await store.bury([{ ack, owedTo: [] }], NOW_MS);
      expect(await store.usage(mailbox.tag)).toEqual({ messages: 0, bytes: 0, isClaimed: false });
    });

    test('is about right when there are many', async () => {
      const many = Array.from({ length: 200 }, (_, n) => mailbox.message(`${n}`, { body: Buffer.alloc(50) }));
      await store.insert(
        many.map((message) => ({ message, owedTo: [] })),
        NOW_MS,
      );
      const { messages, bytes } = await store.usage(mailbox.tag);
      const total = many.reduce((sum, { record }) => sum + record.length, 0);
      expect(messages).toBe(200);
      expect(Math.abs(bytes - total)).toBeLessThan(total / 10);
    });

    test('of all of them is a share of the whole', async () => {
      const fullness = await store.fullness();
      expect(fullness).toBeGreaterThanOrEqual(0);
      expect(fullness).toBeLessThan(1);
    });
  });
}
