/**
 * What happens to what a Redis has on disk, or may not write there: a full disk, a damaged byte, a cut tail, a Redis
 * that only reads, and one that is slow. Nothing that was confirmed is lost unseen, and it recovers by itself.
 */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { afterEach, describe, expect, test } from 'vitest';
import { partitionOf } from '../../relay/core/mailbox.ts';
import type { Message } from '../../relay/core/message.ts';
import { referenceTo } from '../../relay/core/reference.ts';
import { type MessageStore, StoreUnavailable } from '../../relay/ports.ts';
import { eventually } from '../support/eventually.ts';
import { createTestMailbox, type TestMailbox } from '../support/mailbox.ts';
import { type RedisServer, redisMissing, startRedis } from '../support/redis-server.ts';
import { openTestStore, untilAvailable } from '../support/redis-store.ts';
import { listAll } from './message-store.ts';

const NOW_MS = 10_000;
const MINUTE_MS = 60_000;
const SET_ASIDE = join(import.meta.dirname, '../../infra/set-aside.sh');
const reason = redisMissing === undefined ? '' : ` (skipped: ${redisMissing})`;
const mountMissing = findMountMissing();

function findMountMissing(): string | undefined {
  if (redisMissing !== undefined) return redisMissing;
  if (process.env['CI_NO_SKIP'] === '1' || process.getuid?.() === 0) return undefined;
  return 'only root may mount a small disk';
}

describe.skipIf(redisMissing !== undefined)(`a Redis store and its disk${reason}`, () => {
  let server: RedisServer;
  let plain: Redis;
  let store: MessageStore;
  let mailbox: TestMailbox;
  const start = async (commandTimeoutMs: number): Promise<void> => {
    server = await startRedis();
    plain = new Redis({ host: server.host, port: server.port });
    plain.on('error', () => undefined);
    store = await openTestStore(server, { commandTimeoutMs });
    mailbox = createTestMailbox();
  };
  const insert = (message: Message): Promise<readonly unknown[]> =>
    store.insert([{ message, owedTo: ['gcp'] }], NOW_MS);
  const aofOf = (): string => {
    const directory = join(server.directory, 'appendonlydir');
    const name = readdirSync(directory).find((each) => each.endsWith('.incr.aof'));
    return join(directory, name ?? '');
  };
  afterEach(async () => {
    plain.disconnect();
    await store.close();
    await server.stop();
  });

  test('confirms nothing and is unavailable while the Redis only reads, and recovers', async () => {
    await start(10_000);
    await insert(mailbox.message('before'));
    await plain.replicaof('127.0.0.1', '1');
    await expect(insert(mailbox.message('one'))).rejects.toBeInstanceOf(StoreUnavailable);
    const ack = mailbox.ack([mailbox.message('before').id], 100_000);
    await expect(store.bury([{ ack, owedTo: [] }], NOW_MS)).rejects.toBeInstanceOf(StoreUnavailable);
    // Readiness asks this: a site that cannot write wants no clients.
    await expect(store.ping()).rejects.toBeInstanceOf(StoreUnavailable);
    expect(await store.pending(mailbox.tag, 10, NOW_MS)).toHaveLength(1);
    await plain.replicaof('NO', 'ONE');
    await untilAvailable(store);
    expect(await insert(mailbox.message('one'))).toEqual(['stored']);
  });

  test('waits for a slow Redis no longer than its time-out, and uses it again afterwards', async () => {
    const commandTimeoutMs = 1_000;
    await start(commandTimeoutMs);
    await plain.client('PAUSE', 300, 'ALL');
    expect(await insert(mailbox.message('slow'))).toEqual(['stored']);
    await plain.client('PAUSE', 4_000, 'ALL');
    const refused = insert(mailbox.message('too slow')).then(
      () => 'confirmed',
      (error: unknown) => error,
    );
    expect(await Promise.race([refused, sleep(3_500, 'hung')])).toBeInstanceOf(StoreUnavailable);
    await untilAvailable(store);
    const again = await insert(mailbox.message('too slow'));
    expect(['stored', 'duplicate']).toContain(again[0]);
  });

  test('finds a byte that was damaged in the append-only file, and takes the message again', async () => {
    await start(10_000);
    const whole = mailbox.message('whole', { body: Buffer.alloc(2000, 'w') });
    const damaged = mailbox.message('damaged', { body: Buffer.alloc(2000, 'd') });
    await insert(whole);
    await insert(damaged);
    const partition = partitionOf(mailbox.tag);
    const [before] = await store.digest([partition], NOW_MS);
    await server.kill();
    const bytes = readFileSync(aofOf());
    const at = bytes.indexOf('d'.repeat(100)) + 50;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    writeFileSync(aofOf(), bytes);
    await server.start();
    await untilAvailable(store);
    let reports = 0;
    store.onDamage(() => {
      reports += 1;
    });
    // Redis has loaded it without a word; nobody has read it yet.
    expect(await store.digest([partition], NOW_MS)).toEqual([before]);
    await store.verify(partition, '', 100);
    expect(reports).toBe(1);
    expect(await store.digest([partition], NOW_MS)).not.toEqual([before]);
    expect(await store.missing([whole, damaged].map(referenceTo))).toEqual([referenceTo(damaged)]);
    expect(await insert(damaged)).toEqual(['stored']);
    expect(await store.digest([partition], NOW_MS)).toEqual([before]);
  });

  /** What machines do before they start Redis, with what it said last; gives what was said of it. */
  const setAside = (): string =>
    execFileSync('sh', [SET_ASIDE, server.directory], { input: server.said(), encoding: 'utf8' });
  /** Overwrites a file of the append-only directory from the first place of `found` after its middle on. */
  const overwrite = (path: string, found: string, by: string): void => {
    const bytes = readFileSync(path);
    const at = bytes.indexOf(found, Math.floor(bytes.length / 2));
    bytes.write(by, at < 0 ? Math.floor(bytes.length / 2) : at, 'latin1');
    writeFileSync(path, bytes);
  };
  const fileOf = (ending: string): string => {
    const directory = join(server.directory, 'appendonlydir');
    const name = readdirSync(directory).find((each) => each.endsWith(ending));
    return join(directory, name ?? expect.unreachable(`no ${ending}`));
  };

  test.each<[string, RegExp, () => void]>([
    ['the length of an argument', /Bad file format/, () => overwrite(aofOf(), '\r\n$', '\r\n?')],
    ['the name of a command', /Unknown command/, () => overwrite(aofOf(), 'HSET', 'XSET')],
    ['the snapshot before it', /RDB/, () => overwrite(fileOf('.base.rdb'), 'none', '\xff\xff\xff\xff')],
    ['the list of files', /AOF manifest/, () => overwrite(fileOf('.manifest'), 'file', 'life')],
    ['all of one file', /AOF file/, () => rmSync(aofOf())],
  ])('starts without a file in which it cannot read %s, and is without memory then', async (_, why, harm) => {
    await start(10_000);
    const epoch = { id: 'AAAAAAAAAAAAAAAAAAAAAA', refilledFrom: [], seenMs: NOW_MS };
    expect(await store.replaceEpoch(undefined, epoch)).toBe(true);
    for (let index = 0; index < 20; index += 1) await insert(mailbox.message(`old ${index}`));
    await plain.bgrewriteaof();
    await eventually('there is a snapshot of it', async () =>
      /aof_rewrite_in_progress:0[\s\S]*aof_rewrite_scheduled:0[\s\S]*aof_last_bgrewrite_status:ok/.test(
        await plain.info('persistence'),
      ) && readdirSync(join(server.directory, 'appendonlydir')).some((name) => name.includes('.2.'))
        ? true
        : undefined,
    );
    for (let index = 0; index < 20; index += 1) await insert(mailbox.message(`new ${index}`));
    await server.kill();
    expect(setAside()).toBe('');
    harm();
    // A second time what the first time left behind is replaced.
    mkdirSync(join(server.directory, 'damaged', 'appendonlydir'), { recursive: true });
    await expect(server.start()).rejects.toThrow();
    await expect(store.ping()).rejects.toBeInstanceOf(StoreUnavailable);
    expect(setAside()).toMatch(why);
    expect(setAside()).toBe('');
    expect(readdirSync(server.directory)).not.toContain('appendonlydir');
    expect(readdirSync(join(server.directory, 'damaged')).some((name) => name.endsWith('.manifest'))).toBe(
      true,
    );
    expect(readdirSync(join(server.directory, 'damaged'))).not.toContain('appendonlydir');
    await server.start();
    await untilAvailable(store);
    expect(await store.readEpoch()).toBeUndefined();
    expect(await store.pending(mailbox.tag, 100, NOW_MS)).toEqual([]);
    await server.kill();
    expect(setAside()).toBe('');
    expect(readdirSync(server.directory)).toContain('appendonlydir');
  });

  test('keeps a file whose end is cut off, and one that it has not got to, because another has its port', async () => {
    await start(10_000);
    for (let index = 0; index < 20; index += 1) await insert(mailbox.message(`${index}`));
    await server.kill();
    truncateSync(aofOf(), readFileSync(aofOf()).length - 7);
    await server.start();
    expect(server.said()).toContain('Truncating the AOF');
    await server.kill();
    expect(setAside()).toBe('');
    const taken = createServer((socket) => socket.destroy()).listen(server.port, server.host);
    await once(taken, 'listening');
    await expect(server.start()).rejects.toThrow();
    taken.close();
    await once(taken, 'close');
    expect(setAside()).toBe('');
    await server.start();
    await untilAvailable(store);
    expect(await store.pending(mailbox.tag, 100, NOW_MS)).toHaveLength(19);
  });

  test('has a digest of what is left when power failed before the last writes were on disk', async () => {
    await start(10_000);
    for (let index = 0; index < 20; index += 1) await insert(mailbox.message(`${index}`));
    await server.kill();
    const { length } = readFileSync(aofOf());
    truncateSync(aofOf(), length - 1_500);
    await server.start();
    await untilAvailable(store);
    const partition = partitionOf(mailbox.tag);
    const left = (await listAll(store, 100)).length;
    expect(left).toBeGreaterThan(0);
    expect(left).toBeLessThan(20);
    const before = await store.digest([partition], NOW_MS);
    let reports = 0;
    store.onDamage(() => {
      reports += 1;
    });
    // Made anew it is the same: a write is there with its digest, or neither is.
    await store.verify(partition, '', 100);
    expect(await store.digest([partition], NOW_MS)).toEqual(before);
    expect(reports).toBe(0);
  });

  test.skipIf(mountMissing !== undefined)(
    `confirms nothing that a full disk did not take, and recovers when there is room${
      mountMissing === undefined ? '' : ` (skipped: ${mountMissing})`
    }`,
    { timeout: MINUTE_MS },
    async () => {
      await start(10_000);
      await server.kill();
      rmSync(server.directory, { recursive: true });
      execFileSync('mkdir', [server.directory]);
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', server.directory]);
      try {
        writeFileSync(join(server.directory, 'filler'), Buffer.alloc(2 * 1024 * 1024));
        await server.start();
        await untilAvailable(store);
        const confirmed: Message[] = [];
        const fill = async (index: number): Promise<unknown> => {
          const message = mailbox.message(`${index}`, { body: Buffer.alloc(50_000) });
          try {
            await insert(message);
          } catch (error) {
            return error;
          }
          confirmed.push(message);
          return fill(index + 1);
        };
        const failure = await fill(0);
        expect(failure).toBeInstanceOf(StoreUnavailable);
        expect(confirmed.length).toBeGreaterThan(10);
        await expect(store.ping()).rejects.toBeInstanceOf(StoreUnavailable);
        // An operator, or whoever watches the disk, makes room; the supervisor starts Redis again.
        await server.kill();
        rmSync(join(server.directory, 'filler'));
        await server.start();
        await untilAvailable(store);
        expect(await store.missing(confirmed.map(referenceTo))).toEqual([]);
        expect(await insert(mailbox.message('after'))).toEqual(['stored']);
      } finally {
        await server.kill();
        execFileSync('umount', [server.directory]);
      }
    },
  );
});
