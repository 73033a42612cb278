/**
 * What a Redis must be set to before a relay trusts it with messages.
 *
 * The defaults of Redis, and of most managed offers, lose accepted messages: they do not write to disk before they
 * answer, or evict what has not been read. A relay refuses to start on such a Redis and says what to change, and
 * it asks again after every reconnection and every ten seconds, because a restart or somebody's hand may bring other settings.
 */
import type { Redis } from 'ioredis';
import { describeError } from '../../system/log.ts';

const VERSION_MIN = 7;

interface Demand {
  readonly setting: string;
  readonly value: string;
  readonly otherwise: string;
}

const DEMANDS: readonly Demand[] = [
  { setting: 'appendonly', value: 'yes', otherwise: 'keeps messages in memory only' },
  { setting: 'appendfsync', value: 'always', otherwise: 'answers before messages are on disk' },
  {
    setting: 'no-appendfsync-on-rewrite',
    value: 'no',
    otherwise: 'stops writing messages to disk during a rewrite',
  },
  { setting: 'maxmemory-policy', value: 'noeviction', otherwise: 'may delete unread messages' },
];

/**
 * Every fault of the Redis behind `redis`, each a sentence that says how to mend it; empty when it may be used.
 * `where` begins each sentence; `isCluster` says whether it is to be a node of a Redis Cluster. Rejects when the connection fails meanwhile.
 */
export async function checkRedis(
  redis: Redis,
  where: string,
  isCluster: boolean,
): Promise<readonly string[]> {
  const faults = await serverFaults(redis, where, isCluster);
  for (const { setting, value, otherwise } of DEMANDS) {
    const given = await refusable(redis.config('GET', setting));
    if (given instanceof Error) {
      faults.push(
        `${where}: ${setting} cannot be read (${describeError(given)}); allow the relay's user \`+config|get +info\``,
      );
      continue;
    }
    const current = Array.isArray(given) ? String(given[1]) : 'unknown';
    if (current !== value) {
      faults.push(
        `${where}: ${setting} is ${current}, so Redis ${otherwise}; set \`${setting} ${value}\` in redis.conf`,
      );
    }
  }
  return faults;
}

async function serverFaults(redis: Redis, where: string, isCluster: boolean): Promise<string[]> {
  const info = await refusable(redis.info('server'));
  if (info instanceof Error) {
    return [
      `${where}: its version cannot be read (${describeError(info)}); allow the relay's user \`+config|get +info\``,
    ];
  }
  const version = /^redis_version:(\S+)/m.exec(info)?.[1] ?? 'unknown';
  const faults: string[] = [];
  if (!(Number.parseInt(version, 10) >= VERSION_MIN)) {
    faults.push(`${where}: version is ${version}; install Redis ${VERSION_MIN}.0 or later`);
  }
  const isNode = /^redis_mode:cluster/m.test(info);
  if (isNode && !isCluster) {
    faults.push(`${where}: is a node of a Redis Cluster; list at least two of its nodes in RELAY_REDIS`);
  }
  if (!isNode && isCluster) {
    faults.push(
      `${where}: is no node of a Redis Cluster; list one Redis in RELAY_REDIS, or set \`cluster-enabled yes\``,
    );
  }
  return faults;
}

/** An answer, or Redis's refusal as a value; a lost connection still rejects. */
async function refusable<Answer>(answer: Promise<Answer>): Promise<Answer | Error> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof Error && error.name === 'ReplyError') return error;
    throw error;
  }
}
