/**
 * When a provider is lost its clients come to the others all at once, and ack what they had. Deleting takes its time, and no
 * message may have to wait for all of it.
 */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { SignedAck } from '../../relay/core/ack.ts';
import type { MessageId } from '../../relay/core/message.ts';
import type { Reference } from '../../relay/core/reference.ts';
import type { MessageStore } from '../../relay/ports.ts';
import { createTestMailbox } from '../support/mailbox.ts';
import { type RedisServer, redisMissing, startRedis } from '../support/redis-server.ts';
import { openTestStore } from '../support/redis-store.ts';

const NOW_MS = 10_000;
const reason = redisMissing === undefined ? '' : ` (skipped: ${redisMissing})`;

/** By default of as many messages as one may name. */
function ackOf(count = 512): SignedAck {
  const ids = Array.from({ length: count }, () => randomBytes(16).toString('base64url') as MessageId);
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

  /** Stores a message behind everything that `calls` ask for; gives how many of them were answered before it was stored. */
  async function passed(calls: readonly Promise<unknown>[]): Promise<number> {
    let answered = 0;
    const counted = calls.map(async (call) => {
      await call;
      answered += 1;
    });
    const [outcome] = await store.insert(
      [{ message: createTestMailbox().message('one'), owedTo: [] }],
      NOW_MS,
    );
    expect(outcome).toBe('stored');
    const before = answered;
    await Promise.all(counted);
    return before;
  }

  test.each([
    ['of many recipients', 1],
    ['of another site, many in a frame', 20],
  ])('%s lets messages pass in between', async (_name, each) => {
    const acks = Array.from({ length: 40 }, () => ackOf());
    const burials = Array.from({ length: acks.length / each }, (_, nth) =>
      store.bury(
        acks.slice(nth * each, (nth + 1) * each).map((ack) => ({ ack, owedTo: [] })),
        NOW_MS,
      ),
    );
    // Not behind more than a tenth of the acks.
    expect(await passed(burials)).toBeLessThanOrEqual(Math.ceil(burials.length / 10));
    expect((await Promise.all(burials)).flat()).toEqual(acks.map(() => true));
  });

  test('of what was delivered elsewhere is looked for a part at a time', async () => {
    const acked = Array.from({ length: 80 }, () => ackOf(256)).map(({ mailbox, ids }) =>
      ids.map((id): Reference => ({ kind: 'message', mailbox, id })),
    );
    const most = acked.length / 4;
    expect(await passed(acked.map((some) => store.buriedBy(some)))).toBeLessThanOrEqual(most);
    expect(await passed(acked.map((some) => store.indexed(some)))).toBeLessThanOrEqual(most);
  });
});
