/**
 * Redis for one site of a local fleet, configured as in production: what it confirms is on disk, and it refuses
 * rather than evicts.
 */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { Clock } from '../../system/clock.ts';
import { describeError } from '../../system/log.ts';

export interface RedisPlace {
  readonly address: string;
  readonly port: number;
  /** An existing directory of its own. */
  readonly directory: string;
  readonly password: string;
}

/** The text of redis.conf. */
export function redisConfiguration(place: RedisPlace): string {
  const lines = [
    `bind ${place.address}`,
    `port ${place.port}`,
    `dir ${place.directory}`,
    `requirepass ${place.password}`,
    'daemonize no',
    'appendonly yes',
    'appendfsync always',
    'no-appendfsync-on-rewrite no',
    'maxmemory-policy noeviction',
    'save ""',
  ];
  return `${lines.join('\n')}\n`;
}

/** `7.0.15`, or undefined when there is no redis-server on the PATH. */
export function redisVersion(): string | undefined {
  const seen = spawnSync('redis-server', ['--version'], { encoding: 'utf8' });
  return seen.status === 0 ? (/v=([\d.]+)/.exec(seen.stdout)?.[1] ?? 'unknown') : undefined;
}

const SET_ASIDE = join(import.meta.dirname, '../../infra/set-aside.sh');
/** As many of its last words as a machine of a site has in its journal for this, about. */
const LAST_WORDS_BYTES = 20_000;

/**
 * What every machine does before it starts its Redis: what Redis has said in `logFile` that it cannot read is put out of its
 * way. True when there was something.
 */
export function setAsideDamaged(place: RedisPlace, logFile: string): boolean {
  const input = readFileSync(logFile).subarray(-LAST_WORDS_BYTES);
  return spawnSync('sh', [SET_ASIDE, place.directory], { input }).stdout.length > 0;
}

const PING_TIMEOUT_MS = 1000;

/** Resolves when Redis answers PING with PONG; rejects when it does not within `withinMs` milliseconds. */
export async function untilRedisAnswers(place: RedisPlace, clock: Clock, withinMs: number): Promise<void> {
  const deadlineMs = clock.monotonicMs() + withinMs;
  for (;;) {
    try {
      if ((await askRedis(place, 'PING', PING_TIMEOUT_MS)) === '+PONG') return;
    } catch (error) {
      if (clock.monotonicMs() > deadlineMs) {
        throw new Error(`Redis at ${place.address}:${place.port} does not answer (${describeError(error)})`, {
          cause: error,
        });
      }
    }
    await clock.sleep(25);
  }
}

/**
 * Sends one command, as a line, and gives its reply: a bulk string as it is, and of any other the first line, RESP type
 * included, such as `+OK` or `:12`.
 * Rejects when Redis refuses it, or does not answer within `timeoutMs` milliseconds.
 */
export async function askRedis(place: RedisPlace, command: string, timeoutMs: number): Promise<string> {
  const socket = connect({ host: place.address, port: place.port, timeout: timeoutMs });
  socket.on('timeout', () => socket.destroy(new Error('no answer')));
  try {
    await once(socket, 'connect');
    socket.write(`AUTH ${place.password}\r\n${command}\r\n`);
    let seen = '';
    for await (const chunk of socket.setEncoding('latin1')) {
      seen += String(chunk);
      const refusal = /^-.*/m.exec(seen);
      if (refusal !== null) throw new Error(refusal[0].slice(0, 80));
      // Before it stands the `+OK` of AUTH.
      const [, length, reply] = /^\+OK\r\n(?:\$(\d+)|([^$].*))\r\n/.exec(seen) ?? [];
      if (reply !== undefined) return reply;
      const bulk = seen.slice(`+OK\r\n$${length}\r\n`.length);
      if (length !== undefined && bulk.length >= Number(length)) return bulk.slice(0, Number(length));
    }
    throw new Error('closed');
  } finally {
    socket.destroy();
  }
}
