/**
 * The memory store keeps the contract, except that it is not durable and says so.
 */
import { describe, expect, test } from 'vitest';
import { createMemoryStore } from '../../relay/adapters/memory-store.ts';
import { StoreUnavailable } from '../../relay/ports.ts';
import { createTestMailbox } from '../support/mailbox.ts';
import { describeMessageStore } from './message-store.ts';

describe('the memory store', () => {
  describeMessageStore(async () => createMemoryStore());

  test('does not claim to be durable', () => {
    expect(createMemoryStore().durable).toBe(false);
  });

  test('that is closed is unavailable', async () => {
    const store = createMemoryStore();
    await store.close();
    const mailbox = createTestMailbox();
    await expect(store.pending(mailbox.tag, 1, 0)).rejects.toThrow(StoreUnavailable);
    await expect(store.insert([{ message: mailbox.message('one'), owedTo: [] }], 0)).rejects.toThrow(
      StoreUnavailable,
    );
    await expect(store.ping()).rejects.toThrow(StoreUnavailable);
  });
});
