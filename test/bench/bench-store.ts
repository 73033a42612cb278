/**
 * The Redis store as a relay opens it, for benchmarks that need the store and no relay. It waits longer for a command than
 * a relay would: a benchmark asks for all that the Redis can do, and a late reply is its figure and no fault.
 */
import { openRedisStore } from '../../relay/adapters/redis-store.ts';
import type { MessageStore } from '../../relay/ports.ts';
import { systemClock } from '../../system/clock.ts';
import { createLog, writeToStdout } from '../../system/log.ts';
import { systemRandom } from '../../system/random.ts';
import { TEST_PEPPER } from '../support/mailbox.ts';

const TIMEOUT_MS = 20_000;

/** Rejects with a sentence when the Redis is not as a relay demands it. */
export async function openBenchStore({
  host,
  port,
}: {
  readonly host: string;
  readonly port: number;
}): Promise<MessageStore> {
  const opened = await openRedisStore({
    nodes: [{ host, port }],
    pepper: TEST_PEPPER,
    commandTimeoutMs: TIMEOUT_MS,
    openTimeoutMs: TIMEOUT_MS,
    clock: systemClock,
    random: systemRandom,
    log: createLog({ clock: systemClock, base: {}, level: 'warn', write: writeToStdout }),
  });
  if (!opened.ok) throw new Error(opened.fault.join('; '));
  return opened.value;
}
