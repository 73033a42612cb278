/**
 * Redis stores for tests, on a Redis of their own.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { openRedisStore, type RedisStoreOptions } from '../../relay/adapters/redis-store.ts';
import type { MessageStore } from '../../relay/ports.ts';
import { systemClock } from '../../system/clock.ts';
import { createLog } from '../../system/log.ts';
import { systemRandom } from '../../system/random.ts';
import { TEST_PEPPER } from './mailbox.ts';
import type { RedisServer } from './redis-server.ts';

/** A time-out of commands that a busy machine keeps, for stores that are not about time-outs. */
const PATIENT_MS = 10_000;

export function redisStoreOptions(
  server: RedisServer,
  changed: Partial<RedisStoreOptions> = {},
): RedisStoreOptions {
  return {
    nodes: [{ host: server.host, port: server.port }],
    pepper: TEST_PEPPER,
    commandTimeoutMs: PATIENT_MS,
    openTimeoutMs: PATIENT_MS,
    clock: systemClock,
    random: systemRandom,
    log: createLog({ clock: systemClock, base: {}, level: 'error', write: () => undefined }),
    ...changed,
  };
}

export async function openTestStore(
  server: RedisServer,
  changed: Partial<RedisStoreOptions> = {},
): Promise<MessageStore> {
  const opened = await openRedisStore(redisStoreOptions(server, changed));
  if (!opened.ok) throw new Error(opened.fault.join('; '));
  return opened.value;
}

/** Resolves once the store answers. */
export async function untilAvailable(store: MessageStore): Promise<void> {
  for (;;) {
    try {
      await store.ping();
      return;
    } catch {
      await sleep(20);
    }
  }
}
