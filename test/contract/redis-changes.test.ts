/** What a Redis store says of its own writes and of those of other relays of the site. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { SignedAck } from '../../relay/core/ack.ts';
import type { Message } from '../../relay/core/message.ts';
import type { MessageStore } from '../../relay/ports.ts';
import { eventually } from '../support/eventually.ts';
import { createTestMailbox } from '../support/mailbox.ts';
import { type RedisServer, redisMissing, startRedis } from '../support/redis-server.ts';
import { openTestStore } from '../support/redis-store.ts';

const NOW_MS = 10_000;
const reason = redisMissing === undefined ? '' : ` (skipped: ${redisMissing})`;

describe.skipIf(redisMissing !== undefined)(`changes of the Redis store${reason}`, () => {
  let server: RedisServer;
  let own: MessageStore;
  let other: MessageStore;
  beforeAll(async () => {
    server = await startRedis();
    own = await openTestStore(server);
    other = await openTestStore(server);
  });
  afterAll(async () => {
    await Promise.all([own.close(), other.close()]);
    await server.stop();
  });

  test('a relay hears what it wrote itself, once, and of the others that something changed', async () => {
    const mailbox = createTestMailbox();
    const message = mailbox.message('one');
    const ack = mailbox.ack([message.id], 100_000);
    const heardBy = new Map<MessageStore, (Message | SignedAck | undefined)[]>();
    for (const store of [own, other]) {
      const heard: (Message | SignedAck | undefined)[] = [];
      heardBy.set(store, heard);
      store.onChange((tag, what) => {
        if (tag === mailbox.tag) heard.push(what);
      });
    }
    await own.insert([{ message, owedTo: [] }], NOW_MS);
    await own.insert([{ message, owedTo: [] }], NOW_MS);
    await own.bury([{ ack, owedTo: [] }], NOW_MS);
    await eventually('all three', () => (heardBy.get(other)?.length === 3 ? true : undefined));
    // The other relay's write comes after all of them on the same channel.
    await other.insert([{ message: mailbox.message('two'), owedTo: [] }], NOW_MS);
    await eventually('the last', () => (heardBy.get(own)?.length === 3 ? true : undefined));
    expect(heardBy.get(own)).toEqual([message, ack, undefined]);
    expect(heardBy.get(other)?.slice(0, 3)).toEqual([undefined, undefined, undefined]);
  });

  test('a message that is not stored is passed whole to the other relays, and wakes nobody', async () => {
    const mailbox = createTestMailbox();
    const message = mailbox.message('now or never', { acceptedMs: NOW_MS, expiresMs: NOW_MS });
    const passedTo = new Map<MessageStore, Message[]>();
    const woken: string[] = [];
    for (const store of [own, other]) {
      const passed: Message[] = [];
      passedTo.set(store, passed);
      store.onPassed((each) => void passed.push(each));
      store.onChange((tag) => void woken.push(tag));
    }
    await own.pass(message);
    await eventually('the message', () => (passedTo.get(other)?.length === 1 ? true : undefined));
    expect(passedTo.get(other)?.[0]?.record).toEqual(message.record);
    expect(passedTo.get(own)).toEqual([]);
    expect(woken).toEqual([]);
    expect(await own.pending(mailbox.tag, 1, 0)).toEqual([]);
  });
});
