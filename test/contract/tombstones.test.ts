/** Retractions and revocations in both stores: they are stored, listed and read back as acknowledgements are. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createMemoryStore } from '../../relay/adapters/memory-store.ts';
import { TOMBSTONE_SLACK_MS } from '../../relay/core/ack.ts';
import { createRetraction } from '../../relay/core/retraction.ts';
import { revocationIdOf } from '../../relay/core/revocation.ts';
import type { MessageStore } from '../../relay/ports.ts';
import { createTestMailbox } from '../support/mailbox.ts';
import { type RedisServer, redisMissing, startRedis } from '../support/redis-server.ts';
import { openTestStore } from '../support/redis-store.ts';

const NOW_MS = 10_000;
/** The end of the year 9999, until when a revocation is remembered. */
const FOREVER_MS = 253_402_300_799_000;

function describeTombstones(open: () => Promise<MessageStore>): void {
  test('a retraction deletes what it names and is read back whole', async () => {
    const store = await open();
    const mailbox = createTestMailbox();
    const [one, two] = [mailbox.message('one'), mailbox.message('two')];
    await store.insert(
      [one, two].map((message) => ({ message, owedTo: [] })),
      NOW_MS,
    );
    const retraction = mailbox.retraction([one.id], 50_000);
    expect(await store.bury([{ ack: retraction, owedTo: ['gcp'] }], NOW_MS)).toEqual([true]);
    expect((await store.pending(mailbox.tag, 10, NOW_MS)).map(({ id }) => id)).toEqual([two.id]);
    const reference = { kind: 'ack', mailbox: mailbox.tag, id: retraction.id } as const;
    expect(await store.owed('gcp', NOW_MS + 1, 10)).toEqual([reference]);
    const [found] = await store.load([reference]);
    expect(found).toMatchObject({ id: retraction.id, ids: [one.id], expiresMs: 50_000 });
    expect(await store.insert([{ message: one, owedTo: [] }], NOW_MS)).toEqual(['buried']);
    await store.close();
  });

  test('a retraction that came before its message keeps it out, for as long as it is remembered', async () => {
    const store = await open();
    const mailbox = createTestMailbox();
    const [one, two] = [mailbox.message('one'), mailbox.message('two')];
    await store.bury([{ ack: mailbox.retraction([one.id, two.id], 50_000), owedTo: [] }], NOW_MS);
    expect(await store.insert([{ message: two, owedTo: [] }], NOW_MS)).toEqual(['buried']);
    await store.expire(100_000 + TOMBSTONE_SLACK_MS - 1, 1000);
    expect(await store.insert([{ message: one, owedTo: [] }], NOW_MS)).toEqual(['buried']);
    await store.expire(100_000 + TOMBSTONE_SLACK_MS + 1, 1000);
    expect(await store.insert([{ message: one, owedTo: [] }], NOW_MS)).toEqual(['stored']);
    await store.close();
  });

  test('a retraction whose opening is not that of the message deletes nothing and keeps nothing out', async () => {
    const store = await open();
    const mailbox = createTestMailbox();
    const [one, two] = [mailbox.message('one'), mailbox.message('two')];
    await store.insert([{ message: one, owedTo: [] }], NOW_MS);
    const opening = Buffer.alloc(16).toString('base64url');
    const forged = createRetraction(
      mailbox.tag,
      [one, two].map(({ id }) => ({ id, opening })),
      50_000,
    );
    await store.bury([{ ack: forged, owedTo: [] }], NOW_MS);
    expect(await store.insert([{ message: two, owedTo: [] }], NOW_MS)).toEqual(['stored']);
    expect(new Set((await store.pending(mailbox.tag, 10, NOW_MS)).map(({ id }) => id))).toEqual(
      new Set([one.id, two.id]),
    );
    // Nor does it stand in the way of the true one.
    await store.bury([{ ack: mailbox.retraction([one.id], 50_000), owedTo: [] }], NOW_MS);
    expect((await store.pending(mailbox.tag, 10, NOW_MS)).map(({ id }) => id)).toEqual([two.id]);
    await store.close();
  });

  test('an ack and a retraction of one message keep it out for as long as either is remembered', async () => {
    const store = await open();
    for (const longer of ['ack', 'retraction'] as const) {
      const mailbox = createTestMailbox();
      const message = mailbox.message('one', { expiresMs: 20_000 });
      const later = longer === 'ack' ? 60_000 : 30_000;
      const ack = mailbox.ack([message.id], later);
      const retraction = mailbox.retraction([message.id], 90_000 - later);
      await store.insert([{ message, owedTo: [] }], NOW_MS);
      for (const each of [ack, retraction]) await store.bury([{ ack: each, owedTo: [] }], NOW_MS);
      await store.expire(59_999 + TOMBSTONE_SLACK_MS, 1000);
      expect(await store.insert([{ message, owedTo: [] }], NOW_MS), longer).toEqual(['buried']);
      await store.expire(60_000 + TOMBSTONE_SLACK_MS, 1000);
      expect(await store.insert([{ message, owedTo: [] }], NOW_MS), longer).toEqual(['stored']);
    }
    await store.close();
  });

  test('an ack that comes again and is to be remembered longer is', async () => {
    const store = await open();
    const mailbox = createTestMailbox();
    const message = mailbox.message('one', { expiresMs: 20_000 });
    const bury = async (expiresMs: number): Promise<readonly unknown[]> =>
      store.bury([{ ack: mailbox.ack([message.id], expiresMs), owedTo: [] }], NOW_MS);
    expect([await bury(30_000), await bury(60_000), await bury(40_000)]).toEqual([[true], [false], [false]]);
    await store.expire(59_999 + TOMBSTONE_SLACK_MS, 1000);
    expect(await store.insert([{ message, owedTo: [] }], NOW_MS)).toEqual(['buried']);
    await store.close();
  });

  test('a message that has expired and was not swept keeps no other out that has its id', async () => {
    const store = await open();
    const mailbox = createTestMailbox();
    const old = mailbox.message('one', { expiresMs: 20_000 });
    const other = mailbox.message('one', { expiresMs: 90_000, body: Buffer.from('another body') });
    await store.insert([{ message: old, owedTo: [] }], NOW_MS);
    expect(await store.insert([{ message: other, owedTo: [] }], 19_999)).toEqual(['other_kept']);
    expect(await store.insert([{ message: other, owedTo: [] }], 20_000)).toEqual(['stored']);
    expect(await store.pending(mailbox.tag, 10, 20_000)).toMatchObject([{ expiresMs: 90_000 }]);
    await store.close();
  });

  test('a revocation is there for as long as there are years of four digits', async () => {
    const store = await open();
    const mailbox = createTestMailbox();
    const id = revocationIdOf('a capability');
    const reference = { kind: 'message', mailbox: mailbox.tag, id } as const;
    expect(await store.missing([reference])).toEqual([reference]);
    await store.bury([{ ack: mailbox.revocation(id, FOREVER_MS), owedTo: [] }], NOW_MS);
    await store.expire(FOREVER_MS, 1000);
    expect(await store.missing([reference])).toEqual([]);
    await store.close();
  });
}

describe('the memory store', () => describeTombstones(async () => createMemoryStore()));

const reason = redisMissing === undefined ? '' : ` (skipped: ${redisMissing})`;

describe.skipIf(redisMissing !== undefined)(`the Redis store${reason}`, () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(() => server.stop());
  describeTombstones(() => openTestStore(server));
});
