/**
 * What other sites are owed is in the Redis from the moment it is written: with a relay that dies at once, with an
 * answer that never comes, and beside something that is broken.
 */
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { partitionOf } from '../../relay/core/mailbox.ts';
import { referenceTo } from '../../relay/core/reference.ts';
import { type MessageStore, StoreUnavailable } from '../../relay/ports.ts';
import { createTestMailbox, type TestMailbox } from '../support/mailbox.ts';
import { type RedisServer, redisMissing, startRedis } from '../support/redis-server.ts';
import { openTestStore } from '../support/redis-store.ts';

const NOW_MS = 10_000;
const reason = redisMissing === undefined ? '' : ` (skipped: ${redisMissing})`;

describe.skipIf(redisMissing !== undefined)(`pages of debts in the Redis store${reason}`, () => {
  let server: RedisServer;
  let plain: Redis;
  let mailbox: TestMailbox;
  beforeAll(async () => {
    server = await startRedis();
    plain = new Redis({ host: server.host, port: server.port });
  });
  beforeEach(async () => {
    await plain.flushall();
    mailbox = createTestMailbox();
  });
  afterAll(async () => {
    plain.disconnect();
    await server.stop();
  });
  const insert = async (store: MessageStore, ...names: readonly string[]): Promise<unknown> => {
    const insertions = names.map((name) => ({ message: mailbox.message(name), owedTo: ['gcp', 'aws'] }));
    return await store.insert(insertions, NOW_MS);
  };
  const owedBy = async (store: MessageStore, site: string): Promise<readonly unknown[]> =>
    await store.owed(site, NOW_MS + 1, 100);

  test('a batch is one page, and it is gone with the last of its debts', async () => {
    await using store = closing(await openTestStore(server));
    await insert(store, 'one', 'two');
    expect(await plain.hlen('o:{00}')).toBe(1);
    const [one, two] = ['one', 'two'].map((name) => [referenceTo(mailbox.message(name))]);
    await store.settle([
      { sites: ['aws'], references: one ?? [] },
      { sites: ['gcp', 'aws'], references: two ?? [] },
    ]);
    expect(await plain.hlen('o:{00}')).toBe(1);
    await store.settle([{ sites: ['gcp'], references: one ?? [] }]);
    expect(await plain.keys('o:*')).toEqual([]);
    expect(await owedBy(store, 'gcp')).toEqual([]);
  });

  test('leaves no key behind when everything has expired and is settled', async () => {
    await using store = closing(await openTestStore(server));
    const message = mailbox.message('one');
    await store.insert([{ message, owedTo: ['gcp'] }], NOW_MS);
    await store.bury([{ ack: mailbox.ack([message.id], 0), owedTo: [] }], NOW_MS);
    await store.settle([{ sites: ['gcp'], references: [referenceTo(message)] }]);
    await store.expire(Number.MAX_SAFE_INTEGER, 100);
    expect(await plain.keys('*')).toEqual([]);
  });

  test('a page of a relay that died is found by the next one, and by one that ran all the time', async () => {
    const dies = await openTestStore(server);
    await using stays = closing(await openTestStore(server));
    expect(await owedBy(stays, 'gcp')).toEqual([]);
    await insert(dies, 'one');
    await dies.close();
    let found: readonly unknown[] = [];
    for (let look = 0; look < 64 && found.length === 0; look += 1) found = await owedBy(stays, 'gcp');
    expect(found).toEqual([referenceTo(mailbox.message('one'))]);
    await using next = closing(await openTestStore(server));
    expect(await owedBy(next, 'aws')).toEqual([referenceTo(mailbox.message('one'))]);
    expect((await next.debts(['gcp'])).get('gcp')).toEqual({ count: 1, oldestMs: NOW_MS });
  });

  test('what one relay wrote and another has moved can still be settled by the first', async () => {
    await using writer = closing(await openTestStore(server));
    await using mover = closing(await openTestStore(server));
    await owedBy(writer, 'gcp');
    await insert(writer, 'one');
    expect(await owedBy(mover, 'gcp')).toHaveLength(1);
    await writer.settle([{ sites: ['gcp'], references: [referenceTo(mailbox.message('one'))] }]);
    // It does not know, and so it is offered once more; then it is known, and settled for good.
    expect(await owedBy(mover, 'gcp')).toHaveLength(1);
    await mover.settle([{ sites: ['gcp'], references: [referenceTo(mailbox.message('one'))] }]);
    expect(await owedBy(mover, 'gcp')).toEqual([]);
  });

  test('what is not asked for leaves its page after a while, with the next write', async () => {
    await using store = closing(await openTestStore(server));
    await insert(store, 'one');
    await store.insert([{ message: mailbox.message('two'), owedTo: [] }], NOW_MS + 5_001);
    await expect
      .poll(async () => (await plain.keys('o:*')).sort())
      .toEqual([`o:{${partitionOf(mailbox.tag)}}:aws`, `o:{${partitionOf(mailbox.tag)}}:gcp`].sort());
  });

  test('a page that is no hash keeps nothing out, and what cannot be read of one owes nothing', async () => {
    await using store = closing(await openTestStore(server));
    await plain.set('o:{00}', 'no hash');
    expect(await insert(store, 'one')).toEqual(['stored']);
    await plain.hset('o:{00}', 'no name', 'no member');
    await plain.hset('o:{00}', '0000000000000001 other 1 gcp', 'no member');
    await using next = closing(await openTestStore(server));
    expect(await owedBy(next, 'gcp')).toEqual([referenceTo(mailbox.message('one'))]);
  });

  test('an outbox that is no outbox keeps no debt from any other, and is made anew', async () => {
    await using store = closing(await openTestStore(server));
    const other = createTestMailbox();
    const reference = referenceTo(mailbox.message('one'));
    const broken = `o:{${partitionOf(mailbox.tag)}}:gcp`;
    await plain.set(broken, 'no set');
    await insert(store, 'one');
    await store.insert([{ message: other.message('one'), owedTo: ['gcp'] }], NOW_MS);
    expect(await store.debts(['gcp'])).toEqual(new Map([['gcp', { count: 2, oldestMs: NOW_MS }]]));
    // To none of the others it is said that they are settled because this one cannot be.
    await store.settle([
      { sites: ['hetzner', 'aws'], references: [reference] },
      { sites: ['gcp'], references: [referenceTo(mailbox.message('never here'))] },
    ]);
    expect(await owedBy(store, 'gcp')).toHaveLength(2);
    expect(await owedBy(store, 'aws')).toEqual([]);
    expect(await plain.type(broken)).toBe('zset');
  });

  test('a page stays until what is on it is in the outboxes', async () => {
    const user = { username: 'relay', password: 'of-the-user' };
    await plain.acl('SETUSER', user.username, 'on', `>${user.password}`, '~*', '&*', '+@all');
    await using store = closing(await openTestStore(server, user));
    await insert(store, 'one');
    // Everything but outboxes.
    await plain.acl('SETUSER', user.username, 'resetkeys', '~[^o]*', '~o:{??}');
    await expect(owedBy(store, 'gcp')).rejects.toThrow(StoreUnavailable);
    expect(await plain.hlen('o:{00}')).toBe(1);
    await plain.acl('SETUSER', user.username, '~*');
    for (const site of ['gcp', 'aws']) {
      expect(await owedBy(store, site)).toEqual([referenceTo(mailbox.message('one'))]);
    }
    expect(await plain.hlen('o:{00}')).toBe(0);
  });

  test('an item that is broken takes neither the others of its batch along nor their debts', async () => {
    await using store = closing(await openTestStore(server));
    const other = createTestMailbox();
    await plain.set(`i:{${partitionOf(mailbox.tag)}}:${mailbox.tag}`, 'no index');
    const outcomes = await Promise.allSettled([
      insert(store, 'one'),
      store.insert([{ message: other.message('one'), owedTo: ['gcp'] }], NOW_MS),
      store.bury([{ ack: other.ack([other.message('two').id], 100_000), owedTo: ['gcp'] }], NOW_MS),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled']);
    expect(await owedBy(store, 'gcp')).toHaveLength(2);
    expect(await owedBy(store, 'aws')).toEqual([]);
  });
});

function closing(store: MessageStore): MessageStore & AsyncDisposable {
  return { ...store, [Symbol.asyncDispose]: () => store.close() };
}
