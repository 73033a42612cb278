/**
 * Faults of one site's Redis, while its relay and its vantage go on.
 *
 * The faults that damage what is kept are proved at the mailbox that is read at the end through this site alone: its
 * messages are still there, and the drill knows under which key.
 */
import { readFileSync, rmSync } from 'node:fs';
import { parseKeyRing } from '../../../relay/core/key-ring.ts';
import { mailboxIdOf, mailboxTagOf, partitionOf } from '../../../relay/core/mailbox.ts';
import type { Clock } from '../../../system/clock.ts';
import type { SitePart } from '../../local/part.ts';
import type { RedisPlace } from '../../local/redis.ts';
import { breakFraming, type Flipped, flipByte, truncateTail } from './append-only-file.ts';
import {
  type Cause,
  type Expectation,
  type Fault,
  PASSING,
  type Scene,
  SITE_LOST,
  UNNOTICED,
} from './fault.ts';
import { redisReply } from './symptoms.ts';

/** About two seconds of the drill's traffic, its indexes included. */
const TAIL_BYTES = 512 * 1024;
/** A Redis that works 100 ms of every half second. */
const SLOW_FROZEN_MS = 400;
const SLOW_WORKING_MS = 100;
const SHA_OF_NOTHING = 'da39a3ee5e6b4b0d3255bfef95601890afd80709';
/** Enough for what a full Redis needs to answer, and less than a message. */
const ROOM_BYTES = 1024;

/** The site cannot keep anything, says so, and is withdrawn; its nameserver goes on. */
const STORE_LOST: Expectation = { ...SITE_LOST, withdrawnAt: 'all', noticed: false };

export type RedisFault = 'redis-kill' | 'redis-stop' | 'wipe' | 'power' | 'flip' | 'aof' | 'full' | 'slow';

export const REDIS_FAULTS: Readonly<Record<RedisFault, Fault>> = {
  'redis-kill': {
    what: 'loses its Redis (SIGKILL), and later gets it back with its data',
    needs: ['redis'],
    seconds: 20,
    expects: STORE_LOST,
    inject: async ({ site }) => {
      await site.part('redis').kill();
      return {
        done: 'Redis killed',
        isEffective: async () => (await redisReply(site, 'PING')).includes('ECONNREFUSED'),
        heal: async () => await site.part('redis').start(),
      };
    },
  },
  'redis-stop': {
    what: 'has a Redis that hangs (SIGSTOP)',
    needs: ['redis'],
    seconds: 25,
    expects: STORE_LOST,
    inject: async ({ site }) => {
      site.part('redis').freeze();
      return await Promise.resolve({
        done: 'Redis frozen',
        isEffective: async () => (await redisReply(site, 'PING')).includes('no answer'),
        heal: async () => await Promise.resolve(site.part('redis').thaw()),
      });
    },
  },
  wipe: {
    what: 'has a Redis that loses its disk and comes back empty at once',
    needs: ['redis'],
    seconds: 12,
    expects: PASSING,
    inject: async (scene) =>
      await loseRecords(scene, ({ directory }) => {
        rmSync(directory, { recursive: true, force: true });
        return 'data removed';
      }),
  },
  power: {
    what: 'has a Redis that loses power, and with it the last half megabyte of its append-only file',
    needs: ['redis'],
    seconds: 12,
    expects: PASSING,
    inject: async (scene) =>
      await loseRecords(
        scene,
        (place) => `${truncateTail(place, TAIL_BYTES)} bytes cut off its append-only file`,
      ),
  },
  flip: {
    what: 'has a Redis in whose append-only file one bit of a message is flipped',
    needs: ['redis'],
    seconds: 12,
    expects: PASSING,
    inject: flipBit,
  },
  aof: {
    what: 'has a Redis that cannot read its append-only file, which is set aside',
    needs: ['redis'],
    seconds: 12,
    expects: PASSING,
    inject: async (scene) =>
      await loseRecords(scene, (place) => `byte ${breakFraming(place)} of its append-only file changed`),
  },
  full: {
    what: 'has a Redis without any memory left (maxmemory)',
    needs: ['redis'],
    seconds: 20,
    expects: PASSING,
    inject: async ({ site }) => {
      const used = Number(/used_memory:(\d+)/.exec(await redisReply(site, 'INFO memory'))?.[1]);
      await redisReply(site, `CONFIG SET maxmemory ${used + ROOM_BYTES}`);
      return {
        done: `maxmemory set to ${used + ROOM_BYTES} bytes, which are used`,
        isEffective: async () => (await redisReply(site, 'SET drill-probe x')).includes('OOM'),
        heal: async () => {
          await redisReply(site, 'CONFIG SET maxmemory 0');
          await redisReply(site, 'DEL drill-probe');
        },
      };
    },
  },
  slow: {
    what: 'has a slow Redis: it works for 100 ms of every half second',
    needs: ['redis'],
    seconds: 20,
    expects: UNNOTICED,
    inject: async ({ clock, site }) => {
      const redis = site.part('redis');
      redis.freeze();
      const beganMs = clock.monotonicMs();
      await redisReply(site, 'PING');
      const silent = clock.monotonicMs() - beganMs >= SLOW_FROZEN_MS;
      return {
        done: 'Redis frozen and thawed in turn',
        isEffective: () => silent,
        isEndless: true,
        course: async (signal) => await stutter(redis, clock, signal),
        heal: async () => await Promise.resolve(redis.thaw()),
      };
    },
  },
};

/** Kills Redis, lets `harm` change its files, and starts it on what is left. */
async function damage({ site }: Scene, harm: (place: RedisPlace) => string): Promise<Cause> {
  const redis = site.part('redis');
  if (site.redis === undefined) throw new Error(`${site.layout.name} has no Redis`);
  await redis.kill();
  const done = `Redis killed, ${harm(site.redis)}, started again`;
  await redis.start();
  return {
    done,
    isEffective: async () => (await redisReply(site, 'PING')) === '+PONG',
    heal: async () => await Promise.resolve(),
  };
}

/** The same, effective when Redis has loaded the damaged record as it is, or its relay has already found and forgotten it. */
async function flipBit(scene: Scene): Promise<Cause> {
  const key = lateKey(scene);
  let flipped: Flipped | undefined;
  const cause = await damage(scene, (place) => {
    flipped = flipByte(place, key);
    return `byte ${flipped.at} of its append-only file changed`;
  });
  const id = flipped?.id.toString('hex').replaceAll(/../g, '\\x$&') ?? '';
  const kept = await redisReply(
    scene.site,
    `EVAL "return redis.sha1hex(redis.call('HGET', KEYS[1], ARGV[1]) or '')" 1 ${key} "${id}"`,
  );
  return { ...cause, isEffective: () => kept === flipped?.sha || kept === SHA_OF_NOTHING };
}

/** The same, effective when messages are gone that were there before. */
async function loseRecords(scene: Scene, harm: (place: RedisPlace) => string): Promise<Cause> {
  const before = await lateMessages(scene);
  const cause = await damage(scene, harm);
  const after = await lateMessages(scene);
  return {
    ...cause,
    done: `${cause.done}; ${before - after} of ${before} messages of one mailbox gone`,
    isEffective: () => after < before,
  };
}

/** How many messages it has for the mailbox that is read at the end through this site alone. */
async function lateMessages(scene: Scene): Promise<number> {
  return Number((await redisReply(scene.site, `HLEN ${lateKey(scene)}`)).slice(1));
}

/** The key of that mailbox's messages; see relay/adapters/redis-scripts.ts. */
function lateKey({ crewOptions, fleet, site }: Scene): string {
  const late = crewOptions.cast.mailboxes.late.find(({ through }) => through === site.layout.name);
  const secrets = parseKeyRing(readFileSync(fleet.identities.files.secrets, 'utf8'));
  if (late === undefined || !secrets.ok) throw new Error(`${site.layout.name} has no late mailbox`);
  const publicKey = Buffer.from(late.mailbox.signing.x, 'base64url');
  const tag = mailboxTagOf(mailboxIdOf(publicKey), secrets.value.pepper);
  return `m:{${partitionOf(tag)}}:${tag}`;
}

async function stutter(redis: SitePart, clock: Clock, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    redis.thaw();
    await clock.sleep(SLOW_WORKING_MS, signal).catch(() => undefined);
    redis.freeze();
    await clock.sleep(SLOW_FROZEN_MS, signal).catch(() => undefined);
  }
  redis.thaw();
}
