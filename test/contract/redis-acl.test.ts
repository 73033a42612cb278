/**
 * The user that docs/configuration.md gives a relay is enough for its checks and its store, and has nothing that they do
 * not use.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { checkRedis } from '../../relay/adapters/redis-checks.ts';
import { openRedisStore } from '../../relay/adapters/redis-store.ts';
import type { MessageStore } from '../../relay/ports.ts';
import { createTestMailbox } from '../support/mailbox.ts';
import { type RedisServer, redisMissing, startRedis } from '../support/redis-server.ts';
import { openTestStore, redisStoreOptions } from '../support/redis-store.ts';
import { describeMessageStore } from './message-store.ts';

const PASSWORD = 'of-the-relay';
const ADMIN = { username: 'admin', password: 'of-the-test' } as const;
const USER = { username: 'relay', password: PASSWORD } as const;
const docs = readFileSync(join(import.meta.dirname, '../../docs/configuration.md'), 'utf8');
const documented = /^```\n(user default off\nuser relay [^\n]+)\n```$/m.exec(docs)?.[1] ?? '';
const reason = redisMissing === undefined ? '' : ` (skipped: ${redisMissing})`;

describe.skipIf(redisMissing !== undefined)(`a Redis with the documented user${reason}`, () => {
  let directory: string;
  const stores: MessageStore[] = [];
  let server: RedisServer;
  let admin: Redis;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'archipelago-acl-'));
    const hash = createHash('sha256').update(PASSWORD).digest('hex');
    const users = documented.replace('<SHA-256 of the password, hex>', hash);
    const aclfile = join(directory, 'users.acl');
    writeFileSync(aclfile, `${users}\nuser ${ADMIN.username} on >${ADMIN.password} ~* &* +@all\n`);
    server = await startRedis({ aclfile, maxmemory: '1gb' });
    admin = new Redis({ host: server.host, port: server.port, ...ADMIN });
  });
  afterEach(async () => {
    await Promise.all(stores.splice(0).map((store) => store.close()));
  });
  afterAll(async () => {
    admin.disconnect();
    await server.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  describeMessageStore(async () => {
    await admin.flushall();
    const store = await openTestStore(server, USER);
    stores.push(store);
    return store;
  });

  test('passes the checks of a relay that starts', async () => {
    const redis = new Redis({ host: server.host, port: server.port, ...USER });
    expect(await checkRedis(redis, 'here', false)).toEqual([]);
    redis.disconnect();
  });

  test('lets nobody in without the user and the password', async () => {
    const nobody = await openRedisStore(redisStoreOptions(server));
    expect(nobody).toEqual({ ok: false, fault: [expect.stringContaining('NOAUTH')] });
    const wrong = await openRedisStore(redisStoreOptions(server, { ...USER, password: 'wrong' }));
    expect(wrong).toEqual({ ok: false, fault: [expect.stringContaining('WRONGPASS')] });
  });

  test('gives the relay no command that it does not use, and refused it none', async () => {
    const store = await openTestStore(server, USER);
    stores.push(store);
    const mailbox = createTestMailbox();
    await store.insert([{ message: mailbox.message('m'), owedTo: ['gcp'] }], 0);
    expect(await store.fullness()).toBeGreaterThan(0);
    await store.close();
    const used = new Set<string>();
    for (const [, name = ''] of (await admin.info('commandstats')).matchAll(/^cmdstat_([^:]+):/gm))
      used.add(name);
    const granted = [...documented.matchAll(/ \+([a-z|]+)/g)].map(([, name = '']) => name);
    expect(granted.length).toBeGreaterThan(20);
    expect(granted.filter((name) => !used.has(name))).toEqual([]);
    const refused = (await admin.call('ACL', 'LOG')) as readonly (readonly unknown[])[];
    expect(
      refused.map(String).filter((entry) => entry.includes('command') || entry.includes('key,')),
    ).toEqual([]);
  });

  test('keeps the relay from everything else', async () => {
    const redis = new Redis({ host: server.host, port: server.port, ...USER });
    for (const command of [
      ['flushall'],
      ['keys', '*'],
      ['config', 'set', 'appendonly', 'no'],
      ['get', 'other'],
    ]) {
      const [name = '', ...args] = command;
      await expect(redis.call(name, ...args)).rejects.toThrow(/NOPERM/);
    }
    redis.disconnect();
  });
});
