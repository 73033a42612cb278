/** What a power cut and a bad disk do to an append-only file is exactly what was meant, and nothing else. */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { breakFraming, flipByte, truncateTail } from './append-only-file.ts';

const KEY = 'm:{0a}:0atag';
const RECORD = Buffer.alloc(101, 7);

function hset(key: string, record: Buffer): Buffer {
  const head = `*4\r\n$4\r\nHSET\r\n$${key.length}\r\n${key}\r\n$16\r\n${'i'.repeat(16)}\r\n$${record.length}\r\n`;
  return Buffer.concat([Buffer.from(head, 'latin1'), record, Buffer.from('\r\n')]);
}

let directory = '';
let path = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'archipelago-aof-'));
  mkdirSync(join(directory, 'appendonlydir'));
  writeFileSync(join(directory, 'appendonlydir', 'appendonly.aof.9.incr.aof'), 'an older one');
  path = join(directory, 'appendonlydir', 'appendonly.aof.10.incr.aof');
});
afterEach(() => rmSync(directory, { recursive: true }));

const place = (): Parameters<typeof flipByte>[0] => ({ address: '', port: 0, directory, password: '' });

test('one bit of the record that was written last is flipped', () => {
  const content = Buffer.concat([hset(KEY, RECORD), hset(KEY, RECORD), hset('m:{0a}:other', RECORD)]);
  writeFileSync(path, content);
  const { at, id, sha } = flipByte(place(), KEY);
  const after = readFileSync(path);
  expect(after.length).toBe(content.length);
  const changed = [...after.keys()].filter((index) => after[index] !== content[index]);
  expect(changed).toEqual([at]);
  const second = hset(KEY, RECORD).length;
  expect(at).toBeGreaterThan(second);
  expect(at).toBeLessThan(2 * second);
  expect(after.subarray(at, at + 1)).toEqual(Buffer.of(6));
  const damaged = Buffer.from(RECORD);
  damaged[50] = 6;
  expect(id.toString()).toBe('i'.repeat(16));
  expect(sha).toBe(createHash('sha1').update(damaged).digest('hex'));
});

test('without a record there is nothing to damage, and that is said', () => {
  writeFileSync(path, hset('m:{0a}:other', RECORD));
  expect(() => flipByte(place(), KEY)).toThrow('there is no record to damage');
});

test('the tail is cut off the newest file, never more than half of it', () => {
  writeFileSync(path, Buffer.alloc(1000, 1));
  expect(truncateTail(place(), 300)).toBe(300);
  expect(readFileSync(path)).toHaveLength(700);
  expect(truncateTail(place(), 5000)).toBe(350);
});

test('a byte that says what comes next is changed, in the middle', () => {
  const content = Buffer.concat([hset(KEY, RECORD), hset(KEY, RECORD)]);
  writeFileSync(path, content);
  const at = breakFraming(place());
  expect(at).toBeGreaterThanOrEqual(content.length / 2);
  const after = readFileSync(path);
  expect(content.subarray(at, at + 1).toString()).toBe('$');
  expect([...after.keys()].filter((index) => after[index] !== content[index])).toEqual([at]);
  writeFileSync(path, 'nothing that Redis wrote');
  expect(() => breakFraming(place())).toThrow('there is no command to damage');
});
