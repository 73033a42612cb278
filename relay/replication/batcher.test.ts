/** Batches: who travels with whom, and what happens when it goes wrong. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Clock, systemClock } from '../../system/clock.ts';
import { type Batcher, type BatcherOptions, Congested, createBatcher } from './batcher.ts';

interface Rig {
  readonly batcher: Batcher<number, string>;
  /** Batches that were started, in order. */
  readonly batches: (readonly number[])[];
  /** Answers the n-th batch, each item by its own text, or rejects it. */
  readonly answer: (batch: number, error?: Error) => Promise<void>;
}

function rig(options: Partial<BatcherOptions<number, string>> = {}): Rig {
  const batches: (readonly number[])[] = [];
  const answers: PromiseWithResolvers<readonly string[]>[] = [];
  return {
    batches,
    batcher: createBatcher({
      run: (items) => {
        batches.push(items);
        const answer = Promise.withResolvers<readonly string[]>();
        answers.push(answer);
        return answer.promise;
      },
      callsMax: 1,
      itemsMax: 3,
      bytesMax: 100,
      waitingMax: 8,
      waitingBytesMax: 1000,
      sizeOf: (item) => item,
      ...options,
    }),
    answer: async (batch, error) => {
      if (error === undefined) answers[batch]?.resolve((batches[batch] ?? []).map(String));
      else answers[batch]?.reject(error);
      await answers[batch]?.promise.catch(() => undefined);
      await Promise.resolve();
    },
  };
}

/** A clock that stands still until it is told to go on. */
function stoppedClock(): { readonly clock: Clock; readonly pass: (ms: number) => void } {
  let nowMs = 0;
  let due: { readonly atMs: number; readonly callback: () => void }[] = [];
  const clock: Clock = {
    ...systemClock,
    monotonicMs: () => nowMs,
    after: (ms, callback) => {
      due.push({ atMs: nowMs + ms, callback });
      return () => undefined;
    },
  };
  const pass = (ms: number): void => {
    nowMs += ms;
    const ready = due.filter(({ atMs }) => atMs <= nowMs);
    due = due.filter(({ atMs }) => atMs > nowMs);
    for (const { callback } of ready) callback();
  };
  return { clock, pass };
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

test('with a pace, what follows a call under way waits for its time or for a full batch', async () => {
  const { clock, pass } = stoppedClock();
  const { batcher, batches, answer } = rig({ callsMax: 8, pace: { ms: 3, clock } });
  const added = [batcher.add(1)];
  await turn();
  added.push(batcher.add(2));
  await turn();
  expect(batches).toEqual([[1]]);
  added.push(batcher.add(3));
  pass(2.5);
  await turn();
  expect(batches).toEqual([[1]]);
  pass(0.5);
  expect(batches).toEqual([[1], [2, 3]]);
  for (const item of [4, 5, 6]) added.push(batcher.add(item));
  await turn();
  expect(batches).toEqual([[1], [2, 3], [4, 5, 6]]);
  for (const batch of [0, 1, 2]) await answer(batch);
  expect(await Promise.all(added)).toEqual(['1', '2', '3', '4', '5', '6']);
  const last = batcher.add(7);
  await turn();
  expect(batches).toEqual([[1], [2, 3], [4, 5, 6], [7]]);
  await answer(3);
  expect(await last).toBe('7');
});

test('an item goes out at once while calls are free, and what arrives meanwhile goes out together', async () => {
  const { batcher, batches, answer } = rig();
  const first = batcher.add(1);
  await turn();
  expect(batches).toEqual([[1]]);
  const rest = [batcher.add(2), batcher.add(3)];
  await turn();
  expect(batches).toEqual([[1]]);
  await answer(0);
  expect(await first).toBe('1');
  expect(batches).toEqual([[1], [2, 3]]);
  await answer(1);
  expect(await Promise.all(rest)).toEqual(['2', '3']);
});

test('a batch has no more items and no more bytes than allowed, but always one', async () => {
  const { batcher, batches, answer } = rig();
  const added = [10, 10, 10, 10, 60, 50, 500, 1].map((item) => batcher.add(item));
  await turn();
  for (let batch = 0; batch < 5; batch += 1) await answer(batch);
  expect(await Promise.all(added)).toHaveLength(8);
  expect(batches).toEqual([[10, 10, 10], [10, 60], [50], [500], [1]]);
});

describe('a batch that fails', () => {
  test('fails for all of its items and for no other', async () => {
    const { batcher, answer } = rig({ itemsMax: 2 });
    const added = [1, 2, 3, 4].map((item) => batcher.add(item));
    const outcomes = Promise.allSettled(added);
    await turn();
    await answer(0, new Error('away'));
    await answer(1);
    expect((await outcomes).map(({ status }) => status)).toEqual([
      'rejected',
      'rejected',
      'fulfilled',
      'fulfilled',
    ]);
  });

  test('by throwing at once fails the same way', async () => {
    const { batcher } = rig({
      run: () => {
        throw new Error('away');
      },
    });
    await expect(batcher.add(1)).rejects.toThrow('away');
    await expect(batcher.add(2)).rejects.toThrow('away');
  });

  test('by answering only some of its items fails for the rest', async () => {
    const { batcher } = rig({ run: (items) => Promise.resolve(items.slice(1).map(String)) });
    const outcomes = await Promise.allSettled([batcher.add(1), batcher.add(2)]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
  });
});

test('more than may wait is refused at once, and there is room again when a batch has left', async () => {
  const { batcher, answer } = rig({ waitingMax: 2 });
  const first = batcher.add(1);
  await turn();
  const waiting = [batcher.add(2), batcher.add(3)];
  await expect(batcher.add(4)).rejects.toBeInstanceOf(Congested);
  await answer(0);
  await first;
  const later = batcher.add(5);
  await answer(1);
  await answer(2);
  expect(await Promise.all([...waiting, later])).toEqual(['2', '3', '5']);
});

test('bytes that wait have a limit too, and room is made by what goes out', async () => {
  const { batcher, batches, answer } = rig({ waitingBytesMax: 100 });
  const first = batcher.add(60);
  await turn();
  const rest = [batcher.add(60), batcher.add(60)];
  await expect(batcher.add(1)).rejects.toBeInstanceOf(Congested);
  await answer(0);
  expect(batches).toEqual([[60], [60]]);
  const more = batcher.add(1);
  await answer(1);
  await answer(2);
  expect(await Promise.all([first, ...rest, more])).toEqual(['60', '60', '60', '1']);
});

test('who offers hears once, and never before offering is over', async () => {
  const { batcher, answer } = rig({ waitingMax: 1 });
  const heard: string[] = [];
  const offer = (item: number): void => {
    batcher.offer(item, (outcome) => heard.push(outcome instanceof Error ? outcome.name : outcome));
  };
  offer(1);
  offer(2);
  expect(heard).toEqual([]);
  await turn();
  expect(heard).toEqual(['Congested']);
  await answer(0);
  expect(heard).toEqual(['Congested', '1']);
});

test('every item is answered with its own answer, in order, and no more calls run than allowed', async () => {
  const item = fc.integer({ min: 1, max: 120 });
  const limits = fc.record({
    callsMax: fc.integer({ min: 1, max: 4 }),
    itemsMax: fc.integer({ min: 1, max: 5 }),
  });
  const bursts = fc.array(fc.array(item, { maxLength: 6 }), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(limits, bursts, fc.scheduler(), async ({ callsMax, itemsMax }, given, scheduler) => {
      let running = 0;
      let most = 0;
      const started: number[] = [];
      const batcher = createBatcher<number, string>({
        run: async (items) => {
          running += 1;
          most = Math.max(most, running);
          started.push(...items);
          await scheduler.schedule(Promise.resolve(), 'call');
          running -= 1;
          return items.map(String);
        },
        callsMax,
        itemsMax,
        bytesMax: 100,
        waitingMax: 1000,
        waitingBytesMax: Number.POSITIVE_INFINITY,
        sizeOf: (one) => one,
      });
      const answers: Promise<string>[] = [];
      for (const burst of given) {
        answers.push(...burst.map((one) => batcher.add(one)));
        await turn();
        if (scheduler.count() > 0) await scheduler.waitOne();
      }
      await scheduler.waitFor(Promise.all(answers));
      expect(await Promise.all(answers)).toEqual(given.flat().map(String));
      expect(started).toEqual(given.flat());
      expect(most).toBeLessThanOrEqual(callsMax);
    }),
  );
});
