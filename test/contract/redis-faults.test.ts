/**
 * What happens to a Redis, and what the store makes of it: death, silence, a full memory, a restart with other
 * settings, a Redis that was never fit. Nothing that was confirmed is lost, nothing hangs, and it recovers by itself.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { afterEach, describe, expect, onTestFinished, test } from 'vitest';
import { openRedisStore } from '../../relay/adapters/redis-store.ts';
import { partitionOf } from '../../relay/core/mailbox.ts';
import type { Message } from '../../relay/core/message.ts';
import { referenceTo } from '../../relay/core/reference.ts';
import { type MessageStore, StoreUnavailable } from '../../relay/ports.ts';
import { eventually } from '../support/eventually.ts';
import { createTestMailbox, type TestMailbox } from '../support/mailbox.ts';
import { type RedisServer, redisMissing, startRedis } from '../support/redis-server.ts';
import { openTestStore, redisStoreOptions, untilAvailable } from '../support/redis-store.ts';
import { listAll, nextWake } from './message-store.ts';

const NOW_MS = 10_000;
const LATER_MS = 11_000;
const reason = redisMissing === undefined ? '' : ` (skipped: ${redisMissing})`;

describe.skipIf(redisMissing !== undefined)(`a Redis store whose Redis fails${reason}`, () => {
  let server: RedisServer;
  let store: MessageStore;
  let mailbox: TestMailbox;
  const start = async (
    settings: Readonly<Record<string, string>>,
    commandTimeoutMs: number,
  ): Promise<void> => {
    server = await startRedis(settings);
    store = await openTestStore(server, { commandTimeoutMs });
    mailbox = createTestMailbox();
  };
  /** The store as a user of Redis that may do everything; gives what may change that. */
  const startAsUser = async (): Promise<Redis> => {
    await start({}, 10_000);
    await store.close();
    const plain = new Redis({ host: server.host, port: server.port });
    onTestFinished(() => plain.disconnect());
    await plain.acl('SETUSER', 'relay', 'on', '>of-the-user', '~*', '&*', '+@all');
    store = await openTestStore(server, { username: 'relay', password: 'of-the-user' });
    return plain;
  };
  afterEach(async () => {
    await store.close();
    await server.stop();
  });

  test('loses nothing that it confirmed when the Redis is killed in mid-write, and recovers by itself', async () => {
    await start({}, 10_000);
    const confirmed: string[] = [];
    const failures: unknown[] = [];
    const killed = Promise.withResolvers<void>();
    const writers = Array.from({ length: 8 }, async (_, writer) => {
      for (let index = 0; failures.length < 8; index += 1) {
        const message = mailbox.message(`${writer} ${index}`);
        try {
          await store.insert([{ message, owedTo: ['gcp'] }], NOW_MS);
          confirmed.push(message.id);
        } catch (error) {
          failures.push(error);
          return;
        }
        if (confirmed.length === 100) void server.kill().then(killed.resolve, killed.reject);
      }
    });
    await Promise.all(writers);
    await killed.promise;
    for (const failure of failures) expect(failure).toBeInstanceOf(StoreUnavailable);
    await expect(store.ping()).rejects.toThrow(StoreUnavailable);

    await server.start();
    await untilAvailable(store);
    const kept = new Set((await listAll(store, 1000)).map(({ id }) => id));
    for (const id of confirmed) expect(kept.has(id)).toBe(true);
    const owed = new Set((await store.owed('gcp', LATER_MS, 4096)).map(({ id }) => id));
    for (const id of confirmed.slice(0, 500)) expect(owed.has(id)).toBe(true);
    expect(await store.insert([{ message: mailbox.message('new'), owedTo: [] }], NOW_MS)).toEqual(['stored']);
  });

  test('hears of changes again after the Redis came back, and tells that it did', async () => {
    await start({}, 10_000);
    let returns = 0;
    store.onReturn(() => {
      returns += 1;
    });
    await server.kill();
    await server.start();
    await untilAvailable(store);
    expect(returns).toBe(1);
    const woken = Promise.withResolvers<string>();
    store.onChange(woken.resolve, () => true);
    const heard = woken.promise.then((tag) => ({ tag }));
    let answer: { tag: string } | undefined;
    for (let index = 0; answer === undefined; index += 1) {
      await store.insert([{ message: mailbox.message(`${index}`), owedTo: [] }], NOW_MS);
      answer = await Promise.race([heard, sleep(50, undefined)]);
    }
    expect(answer.tag).toBe(mailbox.tag);
  });

  test('keeps everything through a kill and a restart', async () => {
    await start({}, 10_000);
    const [one, two] = [mailbox.message('one'), mailbox.message('two')];
    await store.insert(
      [one, two].map((message) => ({ message, owedTo: ['gcp'] })),
      NOW_MS,
    );
    await store.bury([{ ack: mailbox.ack([two.id], 100_000), owedTo: ['gcp'] }], NOW_MS);
    await store.replaceEpoch(undefined, { id: 'A', refilledFrom: ['gcp'], seenMs: 7 });
    const before = [await listAll(store, 100), await store.debts(['gcp']), await store.readEpoch()];
    await server.kill();
    await server.start();
    await untilAvailable(store);
    expect([await listAll(store, 100), await store.debts(['gcp']), await store.readEpoch()]).toEqual(before);
    expect(await store.insert([{ message: two, owedTo: [] }], NOW_MS)).toEqual(['buried']);
  });

  test('is unavailable when the Redis falls silent, at once from then on, and recovers', async () => {
    const commandTimeoutMs = 1_000;
    await start({}, commandTimeoutMs);
    server.pause();
    const first = store.insert([{ message: mailbox.message('one'), owedTo: [] }], NOW_MS);
    await expect(first).rejects.toThrow(StoreUnavailable);
    await expect(store.ping()).rejects.toThrow(StoreUnavailable);
    const waited = sleep(commandTimeoutMs).then(() => 'waited for');
    const others = [1, 2, 3].map((limit) => store.pending(mailbox.tag, limit, NOW_MS));
    const refused = Promise.allSettled(others).then(() => 'refused');
    expect(await Promise.race([waited, refused])).toBe('refused');
    for (const other of others) await expect(other).rejects.toThrow(StoreUnavailable);
    server.resume();
    await untilAvailable(store);
    const again = await store.insert([{ message: mailbox.message('one'), owedTo: [] }], NOW_MS);
    expect(['stored', 'duplicate']).toContain(again[0]);
  });

  test('never does late what it has said that it could not do', async () => {
    await start({}, 10_000);
    await store.close();
    await using wire = await layWire(server);
    store = await openTestStore(server, { nodes: [wire.end], commandTimeoutMs: 500 });
    const insert = (name: string): Promise<readonly unknown[]> =>
      store.insert([{ message: mailbox.message(name), owedTo: [] }], NOW_MS);
    wire.swallow();
    // The first is on its way and arrives nowhere; then the connection is given up.
    await expect(insert('one')).rejects.toThrow(StoreUnavailable);
    await expect(insert('two')).rejects.toThrow(StoreUnavailable);
    // The other one listens, and sends nothing.
    await eventually('that it is given up', () => (wire.open() === 1 ? true : undefined));
    await expect(insert('three')).rejects.toThrow(StoreUnavailable);
    wire.mend();
    await untilAvailable(store);
    // What goes the same way afterwards is answered afterwards.
    await store.ping();
    expect(await store.pending(mailbox.tag, 10, NOW_MS)).toEqual([]);
    expect(await insert('one')).toEqual(['stored']);
  });

  test('can be closed while the Redis is silent', async () => {
    await start({}, 300);
    server.pause();
    await store.close();
    server.resume();
  });

  test('refuses messages when the memory is full, writes nothing by halves, and still takes acks', async () => {
    await start({ maxmemory: '4mb' }, 10_000);
    const accepted: Message[] = [];
    let refused: Message | undefined;
    for (let index = 0; refused === undefined; index += 1) {
      const message = mailbox.message(`${index}`, { body: Buffer.alloc(60_000) });
      try {
        await store.insert([{ message, owedTo: ['gcp'] }], NOW_MS);
        accepted.push(message);
      } catch (error) {
        expect(error).toBeInstanceOf(StoreUnavailable);
        refused = message;
      }
    }
    // What frees memory can still be written, so the site stays ready.
    await store.ping();
    expect(await store.debts(['gcp'])).toEqual(
      new Map([['gcp', { count: accepted.length, oldestMs: NOW_MS }]]),
    );
    expect(await store.missing([referenceTo(refused)])).toEqual([referenceTo(refused)]);
    const ids = accepted.map(({ id }) => id);
    expect(await store.bury([{ ack: mailbox.ack(ids, 100_000), owedTo: [] }], NOW_MS)).toEqual([true]);
    expect(await store.insert([{ message: refused, owedTo: [] }], NOW_MS)).toEqual(['stored']);
  });

  test('keeps no message out of a mailbox because another, written with it, is broken', async () => {
    await start({}, 10_000);
    let other = createTestMailbox();
    while (partitionOf(other.tag) === partitionOf(mailbox.tag)) other = createTestMailbox();
    const plain = new Redis({ host: server.host, port: server.port });
    const index = `i:{${partitionOf(mailbox.tag)}}:${mailbox.tag}`;
    await plain.set(index, 'no index');
    const insert = (into: TestMailbox): Promise<readonly unknown[]> =>
      store.insert([{ message: into.message('one'), owedTo: ['gcp'] }], NOW_MS);
    const [refused, stored] = await Promise.allSettled([insert(mailbox), insert(other)]);
    expect(refused).toMatchObject({ status: 'rejected', reason: { name: 'StoreUnavailable' } });
    expect(stored).toEqual({ status: 'fulfilled', value: ['stored'] });
    expect(await store.owed('gcp', LATER_MS, 10)).toEqual([referenceTo(other.message('one'))]);
    const together = [mailbox, other].map((each) => ({ message: each.message('both'), owedTo: [] }));
    expect(await store.insert(together, NOW_MS)).toEqual([expect.any(StoreUnavailable), 'stored']);
    const woken: string[] = [];
    const next = nextWake(store, woken);
    const two = store.insert([{ message: other.message('two'), owedTo: [] }], NOW_MS);
    await Promise.allSettled([two, insert(mailbox)]);
    // It was written before the script met what is broken, and again by itself: somebody has to hear of it.
    expect(['stored', 'duplicate']).toContain((await two)[0]);
    while (!woken.includes(other.tag)) await next();
    await plain.del(index);
    plain.disconnect();
    await insert(mailbox);
    expect(await store.pending(mailbox.tag, 10, NOW_MS)).toHaveLength(1);
  });

  test('is unavailable while its scripts are flushed and cannot be loaded, and recovers', async () => {
    const plain = await startAsUser();
    await plain.acl('SETUSER', 'relay', '-script');
    await plain.script('FLUSH');
    const insertion = { message: mailbox.message('one'), owedTo: ['gcp'] };
    await expect(store.insert([insertion], NOW_MS)).rejects.toThrow(StoreUnavailable);
    await expect(store.pending(mailbox.tag, 10, NOW_MS)).rejects.toThrow(StoreUnavailable);
    await plain.acl('SETUSER', 'relay', '+script');
    expect(await store.insert([insertion], NOW_MS)).toEqual(['stored']);
    expect(await store.owed('gcp', LATER_MS, 10)).toEqual([referenceTo(insertion.message)]);
  });

  test('lets messages expire in some partitions while others cannot be asked, and says of no debt that it is paid', async () => {
    const plain = await startAsUser();
    // Pages are in the first of all.
    while (mailbox.tag.startsWith('0')) mailbox = createTestMailbox();
    let other = createTestMailbox();
    while (other.tag.startsWith(mailbox.tag.slice(0, 1))) other = createTestMailbox();
    for (const each of [mailbox, other]) {
      const message = each.message('one', { expiresMs: NOW_MS + 1 });
      await store.insert([{ message, owedTo: ['gcp'] }], NOW_MS);
    }
    expect(await store.owed('gcp', LATER_MS, 10)).toHaveLength(2);
    await plain.acl('SETUSER', 'relay', 'resetkeys', `~*{[^${mailbox.tag.slice(0, 1)}]?}*`);
    await expect(store.debts(['gcp'])).rejects.toThrow(StoreUnavailable);
    expect(await store.expire(LATER_MS, 10)).toBe(1);
    expect(await store.expire(LATER_MS, 10)).toBe(0);
    await plain.acl('SETUSER', 'relay', 'resetkeys', '~nothing');
    await expect(store.expire(LATER_MS, 10)).rejects.toThrow(StoreUnavailable);
    await plain.acl('SETUSER', 'relay', '~*');
    expect((await store.debts(['gcp'])).get('gcp')).toEqual({ count: 2, oldestMs: NOW_MS });
    expect(await store.expire(LATER_MS, 10)).toBe(1);
  });

  test('does not trust a Redis whose settings somebody changes while it runs, until they are right again', async () => {
    await start({}, 10_000);
    await store.close();
    store = await openTestStore(server, { recheckMs: 50 });
    const plain = new Redis({ host: server.host, port: server.port });
    onTestFinished(() => plain.disconnect());
    await plain.config('SET', 'appendfsync', 'everysec');
    await eventually('no trust', async () =>
      store.ping().then(
        () => undefined,
        (error: unknown) => (error instanceof StoreUnavailable ? true : undefined),
      ),
    );
    await plain.config('SET', 'appendfsync', 'always');
    await untilAvailable(store);
  });

  test('does not trust a Redis that came back with other settings', async () => {
    await start({}, 10_000);
    await server.kill();
    const reconnected = Promise.withResolvers<void>();
    const log = { debug: () => undefined, info: () => undefined, warn: () => undefined };
    const watching = {
      ...log,
      error: (event: string) => event === 'redis_misconfigured' && reconnected.resolve(),
    };
    await store.close();
    await server.start();
    store = await openTestStore(server, { log: watching });
    await server.kill();
    const over = new AbortController();
    const impatient = (async () => {
      for (let index = 0; !over.signal.aborted; index += 1) {
        await store
          .insert([{ message: mailbox.message(`${index}`), owedTo: [] }], NOW_MS)
          .catch(() => sleep(0));
      }
    })();
    await server.start({ appendfsync: 'everysec' });
    await reconnected.promise;
    await expect(store.ping()).rejects.toThrow(StoreUnavailable);
    over.abort();
    await impatient;
    const plain = new Redis({ host: server.host, port: server.port });
    // Also between the moment when it answered and the moment when its settings were known.
    expect(await plain.dbsize()).toBe(0);
    plain.disconnect();
    await server.kill();
    await server.start();
    await untilAvailable(store);
  });
});

describe.skipIf(redisMissing !== undefined)(`opening a Redis store${reason}`, () => {
  test('fails with every fault of the settings', async () => {
    const server = await startRedis({ appendonly: 'no', 'maxmemory-policy': 'volatile-lru' });
    onTestFinished(() => server.stop());
    const opened = await openRedisStore(redisStoreOptions(server));
    expect(opened).toEqual({
      ok: false,
      fault: [
        expect.stringContaining('appendonly is no'),
        expect.stringContaining('maxmemory-policy is volatile-lru'),
      ],
    });
  });

  test('fails with a reason when nobody answers', async () => {
    const server = await startRedis();
    onTestFinished(() => server.stop());
    await server.kill();
    const opened = await openRedisStore(redisStoreOptions(server, { openTimeoutMs: 200 }));
    expect(opened).toEqual({
      ok: false,
      fault: [expect.stringMatching(/cannot be used within 200 ms: .*ECONNREFUSED/)],
    });
  });

  test('needs the password, and a user when there is one', async () => {
    const server = await startRedis({ requirepass: 'of-the-site' });
    onTestFinished(() => server.stop());
    const admin = new Redis({ host: server.host, port: server.port, password: 'of-the-site' });
    await admin.acl('SETUSER', 'relay', 'on', '>of-the-user', '~*', '&*', '+@all');
    admin.disconnect();
    const none = await openRedisStore(redisStoreOptions(server));
    expect(none).toEqual({ ok: false, fault: [expect.stringContaining('NOAUTH')] });
    const wrong = await openRedisStore(redisStoreOptions(server, { password: 'wrong' }));
    expect(wrong).toEqual({ ok: false, fault: [expect.stringContaining('WRONGPASS')] });
    for (const credentials of [{ password: 'of-the-site' }, { username: 'relay', password: 'of-the-user' }]) {
      const store = await openTestStore(server, credentials);
      await store.ping();
      await store.close();
    }
  });
});

/** A wire to a Redis that can swallow what is sent through it: nobody hears of an end, and nothing arrives. */
async function layWire({ host, port }: RedisServer): Promise<
  AsyncDisposable & {
    readonly end: { readonly host: string; readonly port: number };
    readonly swallow: () => void;
    readonly mend: () => void;
    /** Connections through it that were there when it began to swallow. */
    readonly open: () => number;
  }
> {
  const before = new Set<Socket>();
  const sockets = new Set<Socket>();
  let isWhole = true;
  const wire = createServer((near) => {
    sockets.add(near);
    near.on('error', () => near.destroy());
    near.on('close', () => {
      sockets.delete(near);
      before.delete(near);
    });
    if (!isWhole) return near.destroy();
    const far = connect({ host, port });
    near.on('data', (bytes) => isWhole && far.write(bytes));
    far.on('data', (bytes) => isWhole && near.write(bytes));
    far.on('error', () => near.destroy()).on('close', () => near.destroy());
    near.on('close', () => far.destroy());
    return undefined;
  });
  wire.listen(0, host);
  await once(wire, 'listening');
  return {
    end: { host, port: (wire.address() as AddressInfo).port },
    swallow: () => {
      isWhole = false;
      for (const socket of sockets) before.add(socket);
    },
    mend: () => {
      isWhole = true;
    },
    open: () => before.size,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      const closed = once(wire, 'close');
      wire.close();
      await closed;
    },
  };
}
