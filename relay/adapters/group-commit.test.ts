/** Groups: who is written with whom, and who hears of what went wrong. */
import { expect, test } from 'vitest';
import { createFakeClock } from '../../test/support/fake-clock.ts';
import { type GroupOptions, groupCommit } from './group-commit.ts';

interface Rig {
  readonly write: (items: readonly number[]) => Promise<readonly (string | Error)[]>;
  readonly groups: (readonly number[])[];
  /** Answers the n-th group, negative items by an Error. */
  readonly answer: (group: number) => void;
  readonly reject: (group: number, error: Error) => void;
}

function rig(options?: GroupOptions<number>): Rig {
  const groups: (readonly number[])[] = [];
  const answers: PromiseWithResolvers<readonly (string | Error)[]>[] = [];
  return {
    groups,
    write: groupCommit((items: readonly number[]) => {
      groups.push(items);
      const answer = Promise.withResolvers<readonly (string | Error)[]>();
      answers.push(answer);
      return answer.promise;
    }, options),
    answer: (group) =>
      answers[group]?.resolve(
        (groups[group] ?? []).map((item) => (item < 0 ? new Error(`${item}`) : `${item}`)),
      ),
    reject: (group, error) => answers[group]?.reject(error),
  };
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

test('what comes in one turn is one group, and what comes while it is under way is the next', async () => {
  const { write, groups, answer } = rig();
  const first = [write([1]), write([2, 3])];
  await turn();
  const second = [write([4]), write([5])];
  await turn();
  expect(groups).toEqual([[1, 2, 3]]);
  answer(0);
  expect(await Promise.all(first)).toEqual([['1'], ['2', '3']]);
  await turn();
  expect(groups).toEqual([
    [1, 2, 3],
    [4, 5],
  ]);
  answer(1);
  expect(await Promise.all(second)).toEqual([['4'], ['5']]);
});

test('an item that fails fails alone, and rejects a caller that has no other', async () => {
  const { write, answer } = rig();
  const [good, mixed, bad] = [write([1]), write([2, -3]), write([-4, -5])];
  const failed = expect(bad).rejects.toThrow('-4');
  await turn();
  answer(0);
  expect(await good).toEqual(['1']);
  expect(await mixed).toEqual(['2', new Error('-3')]);
  await failed;
});

test('a group that was not sent fails for everybody in it, and the next one is sent', async () => {
  const { write, groups, answer, reject } = rig();
  const lost = [write([1]), write([2])].map((one) => expect(one).rejects.toThrow('away'));
  await turn();
  const next = write([3]);
  reject(0, new Error('away'));
  await Promise.all(lost);
  await turn();
  expect(groups).toEqual([[1, 2], [3]]);
  answer(1);
  expect(await next).toEqual(['3']);
});

test('a group takes so many items, and of a caller with more only a part', async () => {
  const { write, groups, answer } = rig();
  const many = Array.from({ length: 1200 }, (_, item) => item);
  const all = [write([-1, 1]), write(many), write([2]), write([3])];
  for (let group = 0; group < 3; group += 1) {
    await turn();
    answer(group);
    await turn();
  }
  expect(groups.map(({ length }) => length)).toEqual([512, 512, 180]);
  expect(await Promise.all(all)).toEqual([[new Error('-1'), '1'], many.map(String), ['2'], ['3']]);
});

test('a group is of what takes the store so long, and of one item at least', async () => {
  const { write, groups, answer } = rig({ weightOf: (item) => item });
  const all = [write([200, 200, 200]), write([513]), write([512, 1, 1])];
  for (let group = 0; group < 5; group += 1) {
    await turn();
    answer(group);
    await turn();
  }
  await Promise.all(all);
  expect(groups).toEqual([[200, 200], [200], [513], [512], [1, 1]]);
});

test('a caller of whose groups one was not sent hears of that, once all have come back', async () => {
  const { write, groups, answer, reject } = rig({ weightOf: () => 512 });
  let isOver = false;
  const lost = expect(write([1, 2, 3]).finally(() => (isOver = true))).rejects.toThrow('away');
  const good = write([4]);
  await turn();
  answer(0);
  await turn();
  await turn();
  reject(1, new Error('away'));
  await turn();
  await turn();
  expect([groups, isOver]).toEqual([[[1], [2], [3]], false]);
  answer(2);
  await lost;
  await turn();
  answer(3);
  expect(await good).toEqual(['4']);
});

test('nothing is written for nothing', async () => {
  const { write, groups } = rig();
  expect(await write([])).toEqual([]);
  await turn();
  expect(groups).toEqual([]);
});

test('large groups keep a pace, small ones and full ones do not', async () => {
  const clock = createFakeClock();
  const { write, groups, answer } = rig({ pace: { ms: 10, fromItems: 2, clock } });
  const writes = [write([1])];
  await clock.settle();
  answer(0);
  await clock.settle();
  writes.push(write([2, 3]));
  await clock.settle();
  // The one before was small.
  expect(groups).toHaveLength(2);
  answer(1);
  await clock.settle();
  writes.push(write([4]));
  await clock.advance(9);
  expect(groups).toHaveLength(2);
  writes.push(write([5]));
  await clock.advance(1);
  expect(groups.slice(2)).toEqual([[4, 5]]);
  answer(2);
  await clock.settle();
  const many = Array.from({ length: 128 }, (_, item) => item);
  writes.push(write([6]), write(many));
  await clock.settle();
  expect(groups.slice(3)).toEqual([[6, ...many]]);
  answer(3);
  await Promise.all(writes);
  expect(clock.pending()).toBe(0);
});

test('nobody waits for outcomes that a group did not give', async () => {
  const write = groupCommit((items: readonly number[]) => Promise.resolve(items.slice(1)));
  expect(await Promise.all([write([1, 2]), write([3])])).toEqual([[2, 3], []]);
});
