/**
 * Whose silence counts, and whose does not.
 */
import { expect, test } from 'vitest';
import { createWatch, turn } from './heartbeat.ts';

test('silence grows from look to look, and one turn ends it', () => {
  const word = new Int32Array(new SharedArrayBuffer(4));
  turn(word);
  const watch = createWatch(word, 0);
  expect([500, 1000, 1500].map((atMs) => watch.look(atMs))).toStrictEqual([500, 1000, 1500]);
  turn(word);
  expect(watch.look(2000)).toBe(0);
  expect(watch.look(2500)).toBe(500);
});

test('time in which the looker stood still itself counts for a second at most', () => {
  const word = new Int32Array(new SharedArrayBuffer(4));
  turn(word);
  expect(createWatch(word, 0).look(3_600_000)).toBe(1000);
});

test('who has not begun is not silent', () => {
  const watch = createWatch(new Int32Array(new SharedArrayBuffer(4)), 0);
  expect([1000, 60_000].map((atMs) => watch.look(atMs))).toStrictEqual([0, 0]);
});
