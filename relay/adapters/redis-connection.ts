/**
 * A connection to the site's Redis that either answers soon or says that it cannot.
 *
 * The defaults of ioredis keep commands for a Redis that is away and execute them late. Here nothing is kept: a
 * command is answered within its time-out or fails, a Redis that stays silent that long is hung up on, and it is
 * dialled again for ever. After every connection its settings are checked before anything is written to it, and every
 * ten seconds from then on, because somebody may change them while it runs.
 */
import { Redis } from 'ioredis';
import { type BackoffConfig, backoffMs } from '../../system/backoff.ts';
import type { Clock } from '../../system/clock.ts';
import { describeError, type Log } from '../../system/log.ts';
import type { Random } from '../../system/random.ts';
import { fail, ok, type Result } from '../../system/result.ts';
import { PARTITIONS, type Partition } from '../core/mailbox.ts';
import { StoreUnavailable } from '../ports.ts';
import { checkRedis } from './redis-checks.ts';
import type { Script } from './redis-lua.ts';
import { SCRIPTS } from './redis-scripts.ts';

export interface RedisConnectionOptions {
  readonly host: string;
  readonly port: number;
  /** Whether it is to be a node of a Redis Cluster. */
  readonly isCluster?: boolean;
  /** For a Redis with users or a password; without them none is sent. */
  readonly username?: string;
  readonly password?: string;
  /** A command that is not answered after so many milliseconds has failed. */
  readonly commandTimeoutMs: number;
  /** How long the first connection may take, milliseconds, loading of the data included. */
  readonly openTimeoutMs: number;
  /** Between two looks at its settings, milliseconds; 10,000 by default. */
  readonly recheckMs?: number;
  /** Called when it can be used again after the connection was lost. */
  readonly onReturn?: () => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export type Argument = string | number | Buffer;
export type RedisCommand = readonly [name: string, ...args: Argument[]];

export interface RedisConnection {
  /** Whether one script may reach several partitions: not in a Redis Cluster, where they live at different nodes. */
  readonly spansPartitions: boolean;
  /**
   * Sends the commands in one write and gives the reply of each, bulk strings as Buffers, or the Error with which
   * it failed. Rejects with `StoreUnavailable` when nothing was sent.
   */
  run(commands: readonly RedisCommand[]): Promise<readonly unknown[]>;
  /** One partition that is at home at each node; of a Redis that is no cluster, one in all. */
  homes(): readonly Partition[];
  /** Sends a command without a key to every node. */
  everywhere(command: RedisCommand): Promise<readonly unknown[]>;
  close(): Promise<void>;
}

const CONNECT_TIMEOUT_MS = 2_000;
const RECHECK_MS = 10_000;
const RECONNECT: BackoffConfig = { baseMs: 50, maxMs: 2_000 };
const LOADING_RETRY_MAX_MS = 250;

/** The command that runs `script` on the partition whose expiry index is `key`. */
export function evalsha(script: Script, key: string, args: readonly Argument[]): RedisCommand {
  return ['EVALSHA', script.sha, 1, key, ...args];
}

/** Connects for commands. Fails with every fault of the Redis, or after `openTimeoutMs`. */
export function connectCommands(
  options: RedisConnectionOptions,
): Promise<Result<RedisConnection, readonly string[]>> {
  const where = nameOf(options);
  let usable = false;
  let watch: Watch | undefined;
  const check = (redis: Redis): Promise<readonly string[]> =>
    checkRedis(redis, where, options.isCluster ?? false);
  const prepare = async (redis: Redis): Promise<readonly string[]> => {
    const faults = await check(redis);
    if (faults.length > 0) return faults;
    await loadScripts(redis);
    usable = true;
    watch ??= createWatch(redis, check, options);
    watch.begin();
    return [];
  };
  const onLost = (): void => {
    usable = false;
    watch?.end();
  };
  return connect(options, prepare, onLost, (redis, close) => {
    const run: RedisConnection['run'] = async (commands) => {
      if (!usable) throw new StoreUnavailable(`${where} is not usable now`);
      const replies = await send(redis, commands, options);
      if (!replies.some(isNoScript)) return replies;
      // Somebody flushed its scripts: they did nothing, so they are run now. What was done already counts in any case.
      try {
        await loadScripts(redis);
      } catch {
        return replies;
      }
      // What is published says what the scripts did, so it is said again after them.
      const again = commands.flatMap(([name], index) =>
        isNoScript(replies[index]) || name === 'PUBLISH' ? [index] : [],
      );
      const repeated = await send(
        redis,
        commands.filter((_, index) => again.includes(index)),
        options,
      );
      again.forEach((index, place) => {
        replies[index] = repeated[place];
      });
      return replies;
    };
    return {
      spansPartitions: !(options.isCluster ?? false),
      run,
      homes: () => PARTITIONS.slice(0, 1),
      everywhere: (command) => run([command]),
      close,
    };
  });
}

export interface Subscriber {
  /** Whether it hears what is said now. */
  readonly isUp: () => boolean;
  close(): Promise<void>;
}

/**
 * Connects a listener to `channel`. It subscribes again after every reconnection, and says so by `onAgain`: what came
 * meanwhile is lost.
 */
export function connectSubscriber(
  options: RedisConnectionOptions,
  channel: string,
  onMessage: (text: string) => void,
  onAgain: () => void,
): Promise<Result<Subscriber, readonly string[]>> {
  let isUp = false;
  let wasUp = false;
  const prepare = async (redis: Redis): Promise<readonly string[]> => {
    await redis.subscribe(channel);
    if (wasUp) onAgain();
    isUp = true;
    wasUp = true;
    return [];
  };
  const onLost = (): void => {
    isUp = false;
  };
  return connect(options, prepare, onLost, (redis, close) => {
    redis.on('message', (_channel: string, text: string) => onMessage(text));
    return { close, isUp: () => isUp };
  });
}

function nameOf({ host, port }: RedisConnectionOptions): string {
  return `redis ${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/**
 * Dials until `prepare` has found the Redis good once, then gives what `wrap` makes of it, and goes on dialling
 * and preparing whenever the connection is lost.
 */
function connect<Connection>(
  options: RedisConnectionOptions,
  prepare: (redis: Redis) => Promise<readonly string[]>,
  onLost: () => void,
  wrap: (redis: Redis, close: () => Promise<void>) => Connection,
): Promise<Result<Connection, readonly string[]>> {
  const { clock, log } = options;
  const where = nameOf(options);
  const { promise, resolve } = Promise.withResolvers<Result<Connection, readonly string[]>>();
  let failures = 0;
  let lastError = 'no answer';
  let opened = false;
  let up = false;
  let closing = false;
  const redis = dial(options, () => {
    failures += 1;
    return Math.ceil(backoffMs(failures, options.random.fraction(), RECONNECT));
  });
  const close = (): Promise<void> => {
    closing = true;
    return hangUp(redis);
  };
  const refuse = (faults: readonly string[]): void => {
    if (opened) return;
    cancelDeadline();
    void close().then(() => resolve(fail(faults)));
  };
  const cancelDeadline = clock.after(options.openTimeoutMs, () =>
    refuse([`${where}: cannot be used within ${options.openTimeoutMs} ms: ${lastError}`]),
  );

  const greet = async (): Promise<void> => {
    const { stream } = redis;
    try {
      const faults = await prepare(redis);
      if (faults.length > 0) {
        report(faults, log);
        refuse(faults);
        stream.destroy();
        return;
      }
      failures = 0;
      up = true;
      if (opened) {
        log.info('redis_back', { where });
        options.onReturn?.();
      } else {
        opened = true;
        cancelDeadline();
        resolve(ok(wrap(redis, close)));
      }
    } catch (error) {
      lastError = describeError(error);
      stream.destroy();
    }
  };
  redis.on('ready', () => void greet());
  redis.on('close', () => {
    onLost();
    if (up && !closing) log.warn('redis_lost', { where, reason: lastError });
    up = false;
  });
  redis.on('error', (error) => {
    lastError = describeError(error);
    if (/\b(?:WRONGPASS|NOAUTH|NOPERM)\b/.test(lastError)) {
      refuse([`${where}: refuses the relay's user or password: ${lastError}`]);
    }
  });
  return promise;
}

interface Watch {
  /** Over the connection that there is now. */
  readonly begin: () => void;
  readonly end: () => void;
}

/** Looks at the settings again and again while a connection lasts, and ends it when there is a fault. */
function createWatch(
  redis: Redis,
  check: (redis: Redis) => Promise<readonly string[]>,
  { clock, log, recheckMs = RECHECK_MS }: RedisConnectionOptions,
): Watch {
  let watched: Redis['stream'] | undefined;
  let cancel = (): void => undefined;
  const later = (): void => {
    cancel = clock.after(recheckMs, () => void look());
  };
  const look = async (): Promise<void> => {
    const stream = watched;
    // A connection that is lost meanwhile is looked at when it is back.
    const faults = await check(redis).catch(() => []);
    if (stream === undefined || watched !== stream) return;
    if (faults.length === 0) later();
    else {
      report(faults, log);
      stream.destroy();
    }
  };
  return {
    begin: () => {
      watched = redis.stream;
      later();
    },
    end: () => {
      watched = undefined;
      cancel();
    },
  };
}

function report(faults: readonly string[], log: Log): void {
  for (const fault of faults) log.error('redis_misconfigured', { fault });
}

function dial(options: RedisConnectionOptions, retryStrategy: () => number): Redis {
  return new Redis({
    host: options.host,
    port: options.port,
    ...(options.username === undefined ? {} : { username: options.username }),
    ...(options.password === undefined ? {} : { password: options.password }),
    protocol: 2,
    disableClientInfo: true,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    connectTimeout: CONNECT_TIMEOUT_MS,
    // Hangs up on a Redis that has stopped, so that nothing piles up that it would execute late.
    socketTimeout: options.commandTimeoutMs,
    maxLoadingRetryTime: LOADING_RETRY_MAX_MS,
    retryStrategy,
  });
}

async function hangUp(redis: Redis): Promise<void> {
  try {
    await redis.quit();
  } catch {
    // It is away, so there is nothing to take leave of.
  }
  redis.disconnect();
}

async function send(
  redis: Redis,
  commands: readonly RedisCommand[],
  { clock, commandTimeoutMs }: RedisConnectionOptions,
): Promise<unknown[]> {
  const pipeline = redis.pipeline();
  for (const [name, ...args] of commands) pipeline.callBuffer(name, args);
  const { promise, resolve } = Promise.withResolvers<unknown[]>();
  // One timer for all of them: ioredis would set one for each.
  const cancel = clock.after(commandTimeoutMs, () =>
    resolve(commands.map(() => new Error('command timed out'))),
  );
  void pipeline.exec((_, replies) => {
    cancel();
    resolve(
      commands.map((__, index) => {
        const [error, reply] = replies?.[index] ?? [new Error('no reply'), undefined];
        return error ?? reply;
      }),
    );
  });
  return promise;
}

async function loadScripts(redis: Redis): Promise<void> {
  await Promise.all(SCRIPTS.map(({ lua }) => redis.script('LOAD', lua)));
}

function isNoScript(reply: unknown): boolean {
  return reply instanceof Error && reply.message.startsWith('NOSCRIPT');
}
