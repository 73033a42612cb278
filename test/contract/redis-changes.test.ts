/** What a Redis store says of its own writes and of those of other relays of the site. */
import { Redis } from 'ioredis';
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

  test('what another relay wrote is read by name, and only where somebody listens', async () => {
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
    const ack = wanted.ack([gone.id], 100_000);
    await own.bury([{ ack, owedTo: [] }], NOW_MS);
    await own.insert([{ message: gone, owedTo: [] }], NOW_MS);
    const last = wanted.message('last');
    await own.insert([{ message: last, owedTo: [] }], NOW_MS);
    await eventually('the last', () => (heard.includes(`${wanted.tag} ${last.id}`) ? true : undefined));
    expect(heard).toEqual([ack.id, '', last.id].map((id) => `${wanted.tag} ${id}`));
  });

  test('what a script did that had to be loaded again is said after it', async () => {
    const mailbox = createTestMailbox();
    const heard: (string | undefined)[] = [];
    const isHere = (tag: string): boolean => tag === mailbox.tag;
    other.onChange((tag, what) => {
      if (isHere(tag)) heard.push(what?.id);
    }, isHere);
    const plain = new Redis({ host: server.host, port: server.port });
    await plain.script('FLUSH');
    plain.disconnect();
    const message = mailbox.message('one');
    await own.insert([{ message, owedTo: [] }], NOW_MS);
    await eventually('the message', () => (heard.includes(message.id) ? true : undefined));
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

  // The last one: every relay is cut off for a moment, and what is said then is lost.
  test('after a gap in what others say the mailboxes that they name are read whole', async () => {
    const mailbox = createTestMailbox();
    const heard: (string | undefined)[] = [];
    const isHere = (tag: string): boolean => tag === mailbox.tag;
    const late = await openTestStore(server);
    late.onChange((tag, what) => {
      if (isHere(tag)) heard.push(what?.id ?? 'something');
    }, isHere);
    const plain = new Redis({ host: server.host, port: server.port });
    await plain.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    plain.disconnect();
    let count = 0;
    await eventually('a change', async () => {
      count += 1;
      await own.insert([{ message: mailbox.message(`${count}`), owedTo: [] }], NOW_MS);
      return heard.length > 0 ? true : undefined;
    });
    expect(new Set(heard)).toEqual(new Set(['something']));
    await late.close();
  });
});
