/**
 * What a relay knows of when to look at a partition, and what it must never forget.
 */
import { expect, test } from 'vitest';
import { PARTITIONS, type Partition } from '../core/mailbox.ts';
import { createDueTimes, type DueTimes } from './due-times.ts';

const [P, Q] = ['07', 'c0'] as Partition[] as [Partition, Partition];

/** Of which every partition was looked at, and nothing was found. */
function empty(): DueTimes {
  const times = createDueTimes();
  for (const partition of PARTITIONS) times.found(partition, times.moment(), undefined);
  return times;
}

test('a partition that was never looked at may hold anything', () => {
  expect(createDueTimes().before(Number.MIN_SAFE_INTEGER).toSorted()).toEqual(PARTITIONS);
  expect(empty().before(Number.POSITIVE_INFINITY)).toEqual([]);
});

test('what was noted is due once its time has passed', () => {
  const times = empty();
  times.note(P, 20);
  times.note(P, 10);
  times.note(Q, 30);
  expect(times.before(10)).toEqual([]);
  expect(times.before(11)).toEqual([P]);
  expect(times.before(31).toSorted()).toEqual([P, Q]);
});

test('a look says when the next thing is due, or that there is none', () => {
  const times = empty();
  times.note(P, 10);
  times.found(P, times.moment(), 50);
  expect(times.before(50)).toEqual([]);
  expect(times.before(51)).toEqual([P]);
  times.found(P, times.moment(), undefined);
  expect(times.before(Number.POSITIVE_INFINITY)).toEqual([]);
});

test('a look that began before a note does not take it away', () => {
  const times = empty();
  const moment = times.moment();
  times.note(P, 10);
  times.found(P, moment, undefined);
  expect(times.before(11)).toEqual([P]);
});

test('a round takes every partition once', () => {
  const times = createDueTimes();
  const seen = Array.from({ length: 64 }, () => times.round(4)).flat();
  expect(seen).toEqual(PARTITIONS);
  expect(times.round(4)).toEqual(PARTITIONS.slice(0, 4));
});

test('looks begin at another partition every time, so that a limit starves none', () => {
  const times = createDueTimes();
  const heads = new Set(PARTITIONS.map(() => times.before(0)[0]));
  expect(heads.size).toBe(PARTITIONS.length);
});
