/**
 * The Redis store keeps the contract on a real Redis, gives the same answers as the memory store whatever is asked
 * of it, and finds what was damaged in it.
 */
import fc from 'fast-check';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createMemoryStore } from '../../relay/adapters/memory-store.ts';
import { DISCARD } from '../../relay/adapters/redis-scripts.ts';
import { PARTITIONS, partitionOf } from '../../relay/core/mailbox.ts';
import type { Message } from '../../relay/core/message.ts';
import { type Reference, referenceTo } from '../../relay/core/reference.ts';
import type { MessageStore } from '../../relay/ports.ts';
import { createTestMailbox, type TestMailbox } from '../support/mailbox.ts';
import { type RedisServer, redisMissing, startRedis } from '../support/redis-server.ts';
import { openTestStore } from '../support/redis-store.ts';
import { describeMessageStore, listAll } from './message-store.ts';

const NOW_MS = 10_000;
const LATER_MS = 11_000;
const reason = redisMissing === undefined ? '' : ` (skipped: ${redisMissing})`;

describe.skipIf(redisMissing !== undefined)(`the Redis store${reason}`, () => {
  let server: RedisServer;
  let plain: Redis;
  const stores: MessageStore[] = [];

  beforeAll(async () => {
    server = await startRedis();
    plain = new Redis({ host: server.host, port: server.port });
  });
  afterEach(async () => {
    await Promise.all(stores.splice(0).map((store) => store.close()));
  });
  afterAll(async () => {
    plain.disconnect();
    await server.stop();
  });

  const openEmpty = async (): Promise<MessageStore> => {
    await plain.flushall();
    return openAnother();
  };
  const openAnother = async (): Promise<MessageStore> => {
    const store = await openTestStore(server);
    stores.push(store);
    return store;
  };

  describeMessageStore(openEmpty);

  test('says how full it is, once it has a limit', async () => {
    const store = await openEmpty();
    expect(await store.fullness()).toBe(0);
    await plain.config('SET', 'maxmemory', String(1024 ** 3));
    const fullness = await store.fullness();
    await plain.config('SET', 'maxmemory', '0');
    expect(fullness).toBeGreaterThan(0);
    expect(fullness).toBeLessThan(0.5);
  });

  test('claims to be durable', async () => {
    expect((await openEmpty()).durable).toBe(true);
  });

  test('sees what another relay of the site has written, and owes it as well', async () => {
    const [one, two] = [await openEmpty(), await openAnother()];
    const message = createTestMailbox().message('one');
    await one.insert([{ message, owedTo: ['gcp'] }], NOW_MS);
    expect(await two.pending(message.mailbox, 10, NOW_MS)).toHaveLength(1);
    expect(await two.owed('gcp', LATER_MS, 10)).toEqual([referenceTo(message)]);
    expect(await two.insert([{ message, owedTo: ['gcp'] }], NOW_MS)).toEqual(['duplicate']);
  });

  test('finds within 64 looks what another relay wrote and left behind after the first look', async () => {
    const [one, two] = [await openEmpty(), await openAnother()];
    expect(await two.owed('gcp', LATER_MS, 10)).toEqual([]);
    expect(await two.expire(NOW_MS, 10)).toBe(0);
    const message = createTestMailbox().message('one', { expiresMs: NOW_MS + 1 });
    await one.insert([{ message, owedTo: ['gcp'] }], NOW_MS);
    let owed: readonly unknown[] = [];
    let expired = 0;
    for (let look = 0; look < 64; look += 1) {
      owed = await two.owed('gcp', LATER_MS, 10);
      if (owed.length > 0) break;
    }
    expect(owed).toEqual([referenceTo(message)]);
    for (let look = 0; look < 64; look += 1) expired += await two.expire(LATER_MS, 10);
    expect(expired).toBe(1);
  });

  test('hardly asks a Redis that holds nothing which is due', async () => {
    const store = await openEmpty();
    const mailbox = createTestMailbox();
    await store.insert([{ message: mailbox.message('one'), owedTo: ['gcp'] }], NOW_MS);
    const look = async (): Promise<void> => {
      await store.owed('gcp', NOW_MS, 100);
      await store.expire(NOW_MS, 100);
    };
    await look();
    await plain.config('RESETSTAT');
    for (let times = 0; times < 10; times += 1) await look();
    const commands = Number(/total_commands_processed:(\d+)/.exec(await plain.info('stats'))?.[1]);
    // Four partitions for each of the two, now and then the pages, and the questions of the test.
    expect(commands).toBeLessThanOrEqual(10 * 8 + 1 + 2);
  });

  test('has no epoch after its Redis was wiped', async () => {
    const store = await openEmpty();
    await store.replaceEpoch(undefined, { id: 'A', refilledFrom: [], seenMs: 7 });
    await plain.flushall();
    expect(await store.readEpoch()).toBeUndefined();
  });

  test('takes an epoch that cannot be read for none', async () => {
    const store = await openEmpty();
    for (const text of ['{', '7', '{"id":1,"refilledFrom":[]}']) {
      await plain.set('e:{00}', text);
      expect(await store.readEpoch()).toBeUndefined();
    }
  });

  test('lets nothing expire by the clock of Redis, and keeps every key in the slot of its partition', async () => {
    const store = await openEmpty();
    const mailbox = createTestMailbox();
    const [one, two] = [mailbox.message('one'), mailbox.message('two')];
    await store.insert(
      [one, two].map((message) => ({ message, owedTo: ['gcp'] })),
      NOW_MS,
    );
    await store.bury([{ ack: mailbox.ack([two.id], 0), owedTo: ['gcp'] }], NOW_MS);
    const keys = (await plain.keys('*')).sort();
    const p = partitionOf(mailbox.tag);
    const names = [`a:{${p}}`, `d:{${p}}`, `i:{${p}}:${mailbox.tag}`, `m:{${p}}:${mailbox.tag}`];
    const written = [...names, `t:{${p}}:${mailbox.tag}`, `x:{${p}}`];
    expect(keys).toEqual([...written, 'o:{00}'].sort());
    await store.owed('gcp', LATER_MS, 10);
    expect((await plain.keys('*')).sort()).toEqual([...written, `o:{${p}}:gcp`].sort());
    for (const key of await plain.keys('*')) expect(await plain.ttl(key)).toBe(-1);
  });

  test('runs its scripts although somebody flushed them', async () => {
    const store = await openEmpty();
    await plain.script('FLUSH');
    const message = createTestMailbox().message('one');
    const insert = (): Promise<readonly unknown[]> => store.insert([{ message, owedTo: [] }], NOW_MS);
    expect(new Set((await Promise.all([insert(), insert()])).flat())).toEqual(
      new Set(['duplicate', 'stored']),
    );
    await plain.script('FLUSH');
    expect(await store.pending(message.mailbox, 10, NOW_MS)).toHaveLength(1);
    const digests = await store.digest(PARTITIONS, NOW_MS);
    await plain.script('FLUSH');
    expect(await store.digest(PARTITIONS, NOW_MS)).toEqual(digests);
  });

  describe('a damaged record', () => {
    const finders: Readonly<Record<string, (store: MessageStore, message: Message) => Promise<unknown>>> = {
      pending: (store, { mailbox }) => store.pending(mailbox, 10, NOW_MS),
      load: (store, message) => store.load([referenceTo(message)]),
      missing: (store, message) => store.missing([referenceTo(message)]),
    };
    test.each(Object.keys(finders))(
      'that %s finds is missing, and is repaired by the next copy',
      async (finder) => {
        const store = await openEmpty();
        const message = createTestMailbox().message('one');
        await store.insert([{ message, owedTo: ['gcp'] }], NOW_MS);
        await damage(plain, referenceTo(message), 60);
        let reports = 0;
        store.onDamage(() => {
          reports += 1;
        });
        await finders[finder]?.(store, message);
        expect(reports).toBe(1);
        expect(await listAll(store, 100)).toEqual([]);
        expect(await store.missing([referenceTo(message)])).toEqual([referenceTo(message)]);
        expect(await store.insert([{ message, owedTo: [] }], NOW_MS)).toEqual(['stored']);
        expect(await store.pending(message.mailbox, 10, NOW_MS)).toMatchObject([{ id: message.id }]);
        expect(reports).toBe(1);
      },
    );

    test('is found whichever byte it is', async () => {
      const store = await openEmpty();
      const mailbox = createTestMailbox();
      const message = mailbox.message('one');
      const ack = mailbox.ack([mailbox.message('two').id], 100_000);
      const ackReference: Reference = { kind: 'ack', mailbox: mailbox.tag, id: ack.id };
      for (let byte = 0; byte < Math.max(message.record.length, ack.record.length + 8); byte += 1) {
        await store.insert([{ message, owedTo: [] }], NOW_MS);
        await store.bury([{ ack, owedTo: [] }], NOW_MS);
        await damage(plain, referenceTo(message), byte % message.record.length);
        await damage(plain, ackReference, byte % (ack.record.length + 8));
        expect(await store.load([referenceTo(message), ackReference])).toEqual([undefined, undefined]);
      }
    });

    test.each([20, 60, 80, 100, -1])(
      '(byte %i) is no copy: the message sent again is stored',
      async (byte) => {
        const store = await openEmpty();
        const mailbox = createTestMailbox();
        const message = mailbox.message('one');
        const all = [mailbox.message('two'), message, mailbox.message('three')];
        const insertions = all.map((each) => ({ message: each, owedTo: ['gcp'] }));
        await store.insert(insertions, NOW_MS);
        await damage(plain, referenceTo(message), (byte + message.record.length) % message.record.length);
        expect(await store.insert(insertions, NOW_MS)).toEqual(['duplicate', 'stored', 'duplicate']);
        expect(await store.pending(message.mailbox, 10, NOW_MS)).toHaveLength(3);
        expect(await store.insert(insertions, NOW_MS)).toEqual(['duplicate', 'duplicate', 'duplicate']);
      },
    );

    test('of an ack is missing and comes back, and its tombstones stay meanwhile', async () => {
      const store = await openEmpty();
      const mailbox = createTestMailbox();
      const message = mailbox.message('one');
      const ack = mailbox.ack([message.id], 100_000);
      const reference: Reference = { kind: 'ack', mailbox: mailbox.tag, id: ack.id };
      await store.bury([{ ack, owedTo: [] }], NOW_MS);
      await damage(plain, reference, 5);
      expect(await store.missing([reference])).toEqual([reference]);
      expect(await store.insert([{ message, owedTo: [] }], NOW_MS)).toEqual(['buried']);
      expect(await store.bury([{ ack, owedTo: [] }], NOW_MS)).toEqual([true]);
      expect(await store.missing([reference])).toEqual([]);
    });

    test('that is gone from under its index is left out and forgotten', async () => {
      const store = await openEmpty();
      const message = createTestMailbox().message('one');
      await store.insert([{ message, owedTo: [] }], NOW_MS);
      await plain.hdel(`m:{${partitionOf(message.mailbox)}}:${message.mailbox}`, rawId(message.id));
      expect(await store.pending(message.mailbox, 10, NOW_MS)).toEqual([]);
      expect(await listAll(store, 100)).toEqual([]);
    });

    test('is one too that belongs to another message', async () => {
      const store = await openEmpty();
      const mailbox = createTestMailbox();
      const [one, two] = [mailbox.message('one'), mailbox.message('two')];
      await store.insert([{ message: one, owedTo: [] }], NOW_MS);
      const key = `m:{${partitionOf(mailbox.tag)}}:${mailbox.tag}`;
      await plain.hset(key, rawId(one.id), Buffer.from(two.record));
      expect(await store.pending(mailbox.tag, 10, NOW_MS)).toEqual([]);
      expect(await store.insert([{ message: one, owedTo: [] }], NOW_MS)).toEqual(['stored']);
    });

    test.each([
      ['a record', (key: string) => `m:${key}`],
      ['the place of a message in its mailbox', (key: string) => `i:${key}`],
      ['the tombstones of an ack', (key: string) => `t:${key}`],
    ])('or %s that is gone is found by verifying, and comes back with the next copy', async (_, keyOf) => {
      const store = await openEmpty();
      const mailbox = createTestMailbox();
      const message = mailbox.message('one');
      const ack = mailbox.ack([mailbox.message('two').id], 100_000);
      const put = async (): Promise<void> => {
        await store.insert([{ message, owedTo: [] }], NOW_MS);
        await store.bury([{ ack, owedTo: [] }], NOW_MS);
      };
      await put();
      const partition = partitionOf(mailbox.tag);
      const [whole] = await store.digest([partition], NOW_MS);
      await plain.del(keyOf(`{${partition}}:${mailbox.tag}`));
      let reports = 0;
      store.onDamage(() => {
        reports += 1;
      });
      await store.verify(partition, '', 100);
      expect(reports).toBe(1);
      expect(await store.digest([partition], NOW_MS)).not.toEqual([whole]);
      await put();
      expect(await store.digest([partition], NOW_MS)).toEqual([whole]);
      expect(await store.pending(mailbox.tag, 10, NOW_MS)).toMatchObject([{ id: message.id }]);
      expect(await store.insert([{ message: mailbox.message('two'), owedTo: [] }], NOW_MS)).toEqual([
        'buried',
      ]);
    });

    test('in a digest keeps no message out, and is made good by verifying', async () => {
      const mailbox = createTestMailbox();
      const partition = partitionOf(mailbox.tag);
      const insert = (store: MessageStore, name: string): Promise<readonly unknown[]> =>
        store.insert([{ message: mailbox.message(name), owedTo: [] }], NOW_MS);
      const before = await openEmpty();
      for (const name of ['one', 'two', 'three']) await insert(before, name);
      const whole = await before.digest([partition], NOW_MS);
      const store = await openEmpty();
      for (const name of ['one', 'two']) await insert(store, name);
      await plain.del(`d:{${partition}}`);
      await plain.hset(`d:{${partition}}`, 'no', 'digest');
      expect(await insert(store, 'three')).toEqual(['stored']);
      expect(await store.digest([partition], NOW_MS)).not.toEqual(whole);
      await store.verify(partition, '', 100);
      expect(await store.digest([partition], NOW_MS)).toEqual(whole);
      await plain.setrange(`d:{${partition}}`, 100, 'flipped');
      expect(await store.digest([partition], NOW_MS)).not.toEqual(whole);
      await store.verify(partition, '', 100);
      expect(await store.digest([partition], NOW_MS)).toEqual(whole);
    });

    test('that was replaced in the meantime is not forgotten', async () => {
      const store = await openEmpty();
      const message = createTestMailbox().message('one');
      await store.insert([{ message, owedTo: [] }], NOW_MS);
      const p = partitionOf(message.mailbox);
      const shaOfOther = '0'.repeat(40);
      await plain.evalsha(DISCARD.sha, 1, `x:{${p}}`, p, 'm', message.mailbox, rawId(message.id), shaOfOther);
      expect(await store.pending(message.mailbox, 10, NOW_MS)).toHaveLength(1);
    });
  });

  test('gives the same answers as the memory store, whatever is asked in whatever order', async () => {
    const mailboxes = [createTestMailbox(), createTestMailbox()];
    await fc.assert(
      fc.asyncProperty(fc.array(operation(), { minLength: 1, maxLength: 40 }), async (operations) => {
        await plain.flushall();
        const memory = createMemoryStore();
        // Another one, because one that is open remembers what it owes.
        await Promise.all(stores.splice(0).map((store) => store.close()));
        const redis = await openAnother();
        let nowMs = NOW_MS;
        for (const step of operations) {
          nowMs += step.laterMs;
          const asked = ask(step, mailboxes, nowMs);
          expect(await asked(redis), step.kind).toEqual(await asked(memory));
        }
        const digests = (store: MessageStore) =>
          store.digest(
            mailboxes.map(({ tag }) => partitionOf(tag)),
            nowMs,
          );
        expect(await digests(redis)).toEqual(await digests(memory));
      }),
      { numRuns: 150 },
    );
  }, 120_000);
});

interface Step {
  readonly kind: 'insert' | 'bury' | 'pending' | 'load' | 'owed' | 'settle' | 'expire' | 'list';
  readonly laterMs: number;
  readonly mailbox: number;
  /** Which messages, of few, so that they meet. */
  readonly names: readonly number[];
  readonly lifetimeMs: number;
  readonly sites: readonly string[];
  readonly limit: number;
}

function operation(): fc.Arbitrary<Step> {
  return fc.record<Step>({
    kind: fc.constantFrom('insert', 'insert', 'bury', 'pending', 'load', 'owed', 'settle', 'expire', 'list'),
    laterMs: fc.constantFrom(0, 1, 1_000, 50_000, 86_400_000),
    mailbox: fc.nat({ max: 1 }),
    names: fc.uniqueArray(fc.nat({ max: 5 }), { minLength: 1, maxLength: 4 }),
    lifetimeMs: fc.constantFrom(0, 1, 60_000, 100_000_000),
    sites: fc.subarray(['aws', 'gcp']),
    limit: fc.constantFrom(1, 3, 1_000),
  });
}

/** The question that a step puts to a store; answers without an order are sorted. */
function ask(
  step: Step,
  mailboxes: readonly TestMailbox[],
  nowMs: number,
): (store: MessageStore) => Promise<unknown> {
  const mailbox = mailboxes[step.mailbox] ?? createTestMailbox();
  const messages = step.names.map((name) =>
    mailbox.message(`${name}`, { acceptedMs: nowMs - (name % 2), expiresMs: nowMs + step.lifetimeMs }),
  );
  const ack = mailbox.ack(
    messages.map(({ id }) => id),
    nowMs + step.lifetimeMs,
  );
  const references: readonly Reference[] = [
    ...messages.map(referenceTo),
    { kind: 'ack', mailbox: mailbox.tag, id: ack.id },
  ];
  switch (step.kind) {
    case 'insert':
      return (store) =>
        store.insert(
          messages.map((message) => ({ message, owedTo: step.sites })),
          nowMs,
        );
    case 'bury':
      return (store) => store.bury([{ ack, owedTo: step.sites }], nowMs);
    case 'pending':
      return async (store) => recordsOf(await store.pending(mailbox.tag, step.limit, nowMs));
    case 'load':
      return async (store) => [recordsOf(await store.load(references)), await store.missing(references)];
    case 'owed':
      return async (store) => [
        // What was written anew counts twice until it has been looked for.
        sorted(await store.owed('aws', Number.MAX_SAFE_INTEGER, 4_096)),
        await store.debts(['aws', 'gcp']),
        sorted(await store.owed('aws', nowMs, 4_096)),
        sorted(await store.owed('gcp', nowMs - 1_000, 4_096)),
      ];
    case 'settle':
      return (store) => store.settle([{ sites: step.sites, references }]);
    case 'expire':
      return async (store) => [await store.expire(nowMs, 1_000), await listAll(store, 100)];
    case 'list':
      return (store) => listAll(store, step.limit);
  }
}

function recordsOf(
  things: readonly ({ readonly record: Uint8Array } | undefined)[],
): readonly (string | undefined)[] {
  return things.map((thing) =>
    thing === undefined ? undefined : Buffer.from(thing.record).toString('base64'),
  );
}

function sorted(references: readonly Reference[]): readonly string[] {
  return references.map((reference) => JSON.stringify(reference)).sort();
}

async function damage(plain: Redis, { kind, mailbox, id }: Reference, byte: number): Promise<void> {
  const partition = partitionOf(mailbox);
  const [key, field] =
    kind === 'message'
      ? [`m:{${partition}}:${mailbox}`, rawId(id)]
      : [`a:{${partition}}`, Buffer.concat([Buffer.from(mailbox, 'latin1'), rawId(id)])];
  const record = await plain.hgetBuffer(key, field);
  if (record === null) throw new Error('no record to damage');
  record[byte] = (record[byte] ?? 0) ^ 0x10;
  await plain.hset(key, field, record);
}

function rawId(id: string): Buffer {
  return Buffer.from(id, 'base64url');
}
