/** What a Redis store says of its own writes and of those of other relays of the site. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
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

  test('a relay hears what it and the others wrote, and what it was', async () => {
    const mailbox = createTestMailbox();
    const message = mailbox.message('one');
    const ack = mailbox.ack([message.id], 100_000);
    const heardBy = new Map<MessageStore, (Uint8Array | undefined)[]>();
    for (const store of [own, other]) {
      const heard: (Uint8Array | undefined)[] = [];
      heardBy.set(store, heard);
      store.onChange(
        (tag, what) => {
          if (tag === mailbox.tag) heard.push(what?.record);
        },
        (tag) => tag === mailbox.tag,
      );
    }
    const untilHeard = (store: MessageStore, count: number): Promise<true> =>
      eventually(`${count} heard`, () => ((heardBy.get(store)?.length ?? 0) >= count ? true : undefined));
    await own.insert([{ message, owedTo: [] }], NOW_MS);
    await untilHeard(other, 1);
    await own.bury([{ ack, owedTo: [] }], NOW_MS);
    await untilHeard(other, 2);
    // The other relay's write comes after all of them on the same channel.
    const second = mailbox.message('two');
    await other.insert([{ message: second, owedTo: [] }], NOW_MS);
    await untilHeard(own, 3);
    const records = [message.record, ack.record, second.record].map((record) => Buffer.from(record));
    expect(heardBy.get(own)?.map((record) => record && Buffer.from(record))).toEqual(records);
    expect(heardBy.get(other)?.map((record) => record && Buffer.from(record))).toEqual(records);
  });

  test('what another relay wrote is read by name, only where somebody listens, and not told when it is gone', async () => {
    const [wanted, unwanted] = [createTestMailbox(), createTestMailbox()];
    const heard: string[] = [];
    other.onChange(
      (tag, what) => {
        if (tag === wanted.tag || tag === unwanted.tag)
          heard.push(`${tag} ${what === undefined ? '' : what.id}`);
      },
      (tag) => tag === wanted.tag,
    );
    const names = ['one', 'two', 'three'];
    await own.insert(
      names.map((name) => ({ message: unwanted.message(name), owedTo: [] })),
      NOW_MS,
    );
    const gone = wanted.message('gone');
    const bury = own.bury([{ ack: wanted.ack([gone.id], 100_000), owedTo: [] }], NOW_MS);
    await bury;
    await own.insert([{ message: gone, owedTo: [] }], NOW_MS);
    const last = wanted.message('last');
    await own.insert([{ message: last, owedTo: [] }], NOW_MS);
    await eventually('the last', () => (heard.includes(`${wanted.tag} ${last.id}`) ? true : undefined));
    const ack = wanted.ack([gone.id], 100_000);
    expect(heard).toEqual([`${wanted.tag} ${ack.id}`, `${wanted.tag} ${last.id}`]);
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
      store.onChange(
        (tag) => void woken.push(tag),
        (tag) => tag === mailbox.tag,
      );
    }
    await own.pass(message);
    await eventually('the message', () => (passedTo.get(other)?.length === 1 ? true : undefined));
    expect(passedTo.get(other)?.[0]?.record).toEqual(message.record);
    expect(passedTo.get(own)).toEqual([]);
    expect(woken).toEqual([]);
    expect(await own.pending(mailbox.tag, 1, 0)).toEqual([]);
  });
});
