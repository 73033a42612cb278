/**
 * What a power cut and a bad disk do to the append-only file of a Redis, done to it while it does not run.
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
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

/** Changes a byte in the middle by which Redis knows what comes next, so that it cannot read on. Gives its place. */
export function breakFraming(place: RedisPlace): number {
  const path = incrementOf(place);
  const content = readFileSync(path);
  const at = content.indexOf('\r\n$', Math.floor(content.length / 2)) + CARRIAGE_RETURN_AND_LINE_FEED;
  if (at < CARRIAGE_RETURN_AND_LINE_FEED) throw new Error('there is no command to damage');
  content[at] = '?'.charCodeAt(0);
  writeFileSync(path, content);
  return at;
}

/** What was done to a record, and how to know it again. */
export interface Flipped {
  /** Place of the byte in the file. */
  readonly at: number;
  /** Under which the record is kept, 16 bytes. */
  readonly id: Buffer;
  /** SHA-1 of the damaged record, hex. */
  readonly sha: string;
}

/** Inverts one bit in the middle of the record that was written last under `key`. */
export function flipByte(place: RedisPlace, key: string): Flipped {
  const path = incrementOf(place);
  const content = readFileSync(path);
  const found = lastRecord(content, key);
  if (found === undefined) throw new Error('there is no record to damage');
  const { id, recordAt, length } = found;
  const at = recordAt + Math.floor(length / 2);
  content[at] = (content[at] ?? 0) ^ 1;
  const file = openSync(path, 'r+');
  try {
    writeSync(file, content, at, 1, at);
  } finally {
    closeSync(file);
  }
  const record = content.subarray(recordAt, recordAt + length);
  return { at, id, sha: createHash('sha1').update(record).digest('hex') };
}

/** After the key of an HSET come an id and the record, each as `$LENGTH\r\n…\r\n`. */
function lastRecord(
  content: Buffer,
  key: string,
): { readonly id: Buffer; readonly recordAt: number; readonly length: number } | undefined {
  const keyAt = content.lastIndexOf(`${key}\r\n$${ID_BYTES}\r\n`);
  if (keyAt < 0) return undefined;
  const idAt = keyAt + key.length + `\r\n$${ID_BYTES}\r\n`.length;
  const lengthAt = idAt + ID_BYTES + CARRIAGE_RETURN_AND_LINE_FEED;
  const recordAt = content.indexOf('\r\n', lengthAt) + CARRIAGE_RETURN_AND_LINE_FEED;
  const length = Number(content.toString('latin1', lengthAt + 1, recordAt - CARRIAGE_RETURN_AND_LINE_FEED));
  return content[lengthAt] === '$'.charCodeAt(0) && length > 1
    ? { id: content.subarray(idAt, idAt + ID_BYTES), recordAt, length }
    : undefined;
}
