/**
 * A Redis that would lose messages is refused, each fault with the sentence that mends it.
 */
import { Redis } from 'ioredis';
import { describe, expect, test } from 'vitest';
import { checkRedis } from '../../relay/adapters/redis-checks.ts';
import { redisMissing, startRedis } from '../support/redis-server.ts';

const reason = redisMissing === undefined ? '' : ` (skipped: ${redisMissing})`;

describe.skipIf(redisMissing !== undefined)(`the settings of a Redis${reason}`, () => {
  test('of production have no fault', async () => {
    expect(await faultsOf({})).toEqual([]);
  });

  test.each([
    ['appendonly', 'no', 'keeps messages in memory only'],
    ['appendfsync', 'everysec', 'answers before messages are on disk'],
    ['appendfsync', 'no', 'answers before messages are on disk'],
    ['no-appendfsync-on-rewrite', 'yes', 'stops writing messages to disk during a rewrite'],
    ['maxmemory-policy', 'volatile-lru', 'may delete unread messages'],
    ['maxmemory-policy', 'allkeys-random', 'may delete unread messages'],
  ])('%s %s is a fault', async (setting, value, consequence) => {
    const demanded =
      { appendonly: 'yes', appendfsync: 'always', 'maxmemory-policy': 'noeviction' }[setting] ?? 'no';
    expect(await faultsOf({ [setting]: value })).toEqual([
      `here: ${setting} is ${value}, so Redis ${consequence}; set \`${setting} ${demanded}\` in redis.conf`,
    ]);
  });

  test('are all named at once', async () => {
    const faults = await faultsOf({ appendonly: 'no', appendfsync: 'no', 'maxmemory-policy': 'allkeys-lru' });
    expect(faults).toHaveLength(3);
  });

  test('that may not be read are faults that say what to allow', async () => {
    const server = await startRedis();
    const { host, port } = server;
    const admin = new Redis({ host, port });
    await admin.acl('SETUSER', 'relay', 'on', '>word', '~*', '&*', '+@all', '-config');
    admin.disconnect();
    const redis = new Redis({ host, port, username: 'relay', password: 'word' });
    const faults = await checkRedis(redis, 'here', false);
    redis.disconnect();
    await server.stop();
    expect(faults).toHaveLength(4);
    expect(faults[0]).toMatch(/^here: appendonly cannot be read .*NOPERM.*allow the relay's user/);
  });
});

async function faultsOf(settings: Readonly<Record<string, string>>): Promise<readonly string[]> {
  const server = await startRedis(settings);
  const redis = new Redis({ host: server.host, port: server.port });
  try {
    return await checkRedis(redis, 'here', false);
  } finally {
    redis.disconnect();
    await server.stop();
  }
}
