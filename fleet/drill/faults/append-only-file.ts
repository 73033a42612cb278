/**
 * What a power cut and a bad disk do to the append-only file of a Redis, done to it while it does not run.
 */
import { closeSync, openSync, readdirSync, readFileSync, statSync, truncateSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { RedisPlace } from '../../local/redis.ts';

const CARRIAGE_RETURN_AND_LINE_FEED = 2;
const ID_BYTES = 16;

/** The part of the file that Redis appends to now. */
function incrementOf(place: RedisPlace): string {
  const directory = join(place.directory, 'appendonlydir');
  const newest = readdirSync(directory)
    .filter((name) => name.endsWith('.incr.aof'))
    .sort((a, b) => numberIn(a) - numberIn(b))
    .at(-1);
  if (newest === undefined) throw new Error(`there is no append-only file in ${directory}`);
  return join(directory, newest);
}

function numberIn(name: string): number {
  return Number(/\.(\d+)\.incr\.aof$/.exec(name)?.[1] ?? 0);
}

/** Cuts `bytes` off the end, at most half of it. Gives how many were cut. */
export function truncateTail(place: RedisPlace, bytes: number): number {
  const path = incrementOf(place);
  const { size } = statSync(path);
  const cut = Math.min(bytes, Math.floor(size / 2));
  truncateSync(path, size - cut);
  return cut;
}

/** Inverts one bit in the middle of the record that was written last under `key`. Gives its place in the file. */
export function flipByte(place: RedisPlace, key: string): number {
  const path = incrementOf(place);
  const content = readFileSync(path);
  const at = recordMiddle(content, key);
  if (at === undefined) throw new Error('there is no record to damage');
  const file = openSync(path, 'r+');
  try {
    writeSync(file, Uint8Array.of((content[at] ?? 0) ^ 1), 0, 1, at);
  } finally {
    closeSync(file);
  }
  return at;
}

/** After the key of an HSET come an id and the record, each as `$LENGTH\r\n…\r\n`. */
function recordMiddle(content: Buffer, key: string): number | undefined {
  const keyAt = content.lastIndexOf(`${key}\r\n$${ID_BYTES}\r\n`);
  if (keyAt < 0) return undefined;
  const idAt = keyAt + key.length + `\r\n$${ID_BYTES}\r\n`.length;
  const lengthAt = idAt + ID_BYTES + CARRIAGE_RETURN_AND_LINE_FEED;
  const recordAt = content.indexOf('\r\n', lengthAt) + CARRIAGE_RETURN_AND_LINE_FEED;
  const length = Number(content.toString('latin1', lengthAt + 1, recordAt - CARRIAGE_RETURN_AND_LINE_FEED));
  return content[lengthAt] === '$'.charCodeAt(0) && length > 1
    ? recordAt + Math.floor(length / 2)
    : undefined;
}
