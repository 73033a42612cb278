/**
 * When a provider is lost its clients come to the others all at once, and ack what they had. Deleting takes its time, and no
 * message may have to wait for all of it.
 */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { SignedAck } from '../../relay/core/ack.ts';
import type { MessageId } from '../../relay/core/message.ts';
import type { MessageStore } from '../../relay/ports.ts';
import { createTestMailbox } from '../support/mailbox.ts';
import { type RedisServer, redisMissing, startRedis } from '../support/redis-server.ts';
import { openTestStore } from '../support/redis-store.ts';

const NOW_MS = 10_000;
const reason = redisMissing === undefined ? '' : ` (skipped: ${redisMissing})`;

/** An ack of as many messages as one may name. */
function fullAck(): SignedAck {
  const ids = Array.from({ length: 512 }, () => randomBytes(16).toString('base64url') as MessageId);
  return createTestMailbox().ack(ids, NOW_MS + 60_000);
}

describe.skipIf(redisMissing !== undefined)(`a storm of acks in the Redis store${reason}`, () => {
  let server: RedisServer;
  let store: MessageStore;
  beforeAll(async () => {
    server = await startRedis();
    store = await openTestStore(server);
  });
  afterAll(async () => {
    await store.close();
    await server.stop();
  });

  test.each([
    ['of many recipients', 1],
    ['of another site, many in a frame', 20],
  ])('%s lets messages pass in between', async (_name, each) => {
    const acks = Array.from({ length: 40 }, fullAck);
    const done: string[] = [];
    const burials = Array.from({ length: acks.length / each }, async (_, nth) => {
      const some = acks.slice(nth * each, (nth + 1) * each).map((ack) => ({ ack, owedTo: [] }));
      const outcomes = await store.bury(some, NOW_MS);
      done.push('acks');
      return outcomes;
    });
    // What comes behind all of them.
    const message = createTestMailbox().message('one');
    const inserted = store.insert([{ message, owedTo: [] }], NOW_MS).then((outcomes) => {
      done.push('message');
      return outcomes;
    });
    expect((await Promise.all(burials)).flat()).toEqual(acks.map(() => true));
    expect(await inserted).toEqual(['stored']);
    // Not behind more than a tenth of the acks.
    expect(done.indexOf('message')).toBeLessThanOrEqual(Math.ceil(burials.length / 10));
  });
});
