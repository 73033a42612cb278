/**
 * The time of simulated worlds: order, cancellation, death, and what runs between two moments.
 */
import { expect, test } from 'vitest';
import { createTrace } from './trace.ts';
import { createVirtualTime } from './virtual-time.ts';

test('what is due earlier happens earlier, and what is due together in the order of its coming', async () => {
  const time = createVirtualTime();
  const happened: string[] = [];
  for (const [name, ms] of [
    ['c', 30],
    ['a', 10],
    ['b1', 20],
    ['b2', 20],
    ['later', 99],
  ] as const) {
    time.after(ms, () => happened.push(`${name} ${time.nowMs()}`));
  }
  await time.advance(50);
  expect(happened).toEqual(['a 10', 'b1 20', 'b2 20', 'c 30']);
  expect(time.nowMs()).toBe(50);
  expect(time.pending()).toBe(1);
});

test('what is cancelled does not happen, also when it is cancelled twice', async () => {
  const time = createVirtualTime();
  let count = 0;
  const cancel = time.after(10, () => (count += 1));
  time.after(10, () => (count += 1));
  cancel();
  cancel();
  await time.advance(20);
  expect(count).toBe(1);
  expect(time.pending()).toBe(0);
});

test('promises and immediates run to their end before time goes on', async () => {
  const time = createVirtualTime();
  const seen: number[] = [];
  time.after(10, () => {
    void (async () => {
      await Promise.resolve();
      setImmediate(() => {
        void Promise.resolve().then(() => seen.push(time.nowMs()));
      });
    })();
  });
  time.after(11, () => seen.push(time.nowMs()));
  await time.advance(20);
  expect(seen).toEqual([10, 11]);
});

test('timers of a dead process never fire, and its sleeps never end', async () => {
  const time = createVirtualTime();
  let isAlive = true;
  let woke = 0;
  const clock = time.clockOf({ isAlive: () => isAlive });
  const loop = async (): Promise<void> => {
    for (;;) {
      await clock.sleep(10);
      woke += 1;
    }
  };
  void loop();
  await time.advance(25);
  isAlive = false;
  await time.advance(100);
  expect(woke).toBe(2);
});

test('a sleep that is aborted rejects with the reason and leaves nothing on the agenda', async () => {
  const time = createVirtualTime();
  const stopping = new AbortController();
  const slept = time.clockOf().sleep(1000, stopping.signal);
  stopping.abort(new Error('enough'));
  await expect(slept).rejects.toThrow('enough');
  expect(time.pending()).toBe(0);
});

test('a skewed clock is off by its skew and ticks alike', async () => {
  const time = createVirtualTime();
  const straight = time.clockOf();
  const skewed = time.clockOf({ offsetMs: () => -5000 });
  await time.advance(10);
  expect(skewed.wallMs() - straight.wallMs()).toBe(-5000);
  expect(skewed.monotonicMs()).toBe(straight.monotonicMs());
});

test('the digest of a trace depends on every line of it', () => {
  const lines: string[] = [];
  const traceOf = (...what: readonly string[]): string => {
    const trace = createTrace(
      () => 1234.5,
      (line) => lines.push(line),
    );
    for (const each of what) trace.note('aws', each);
    return trace.digest();
  };
  expect(traceOf('a', 'b')).toBe(traceOf('a', 'b'));
  expect(traceOf('a', 'b')).not.toBe(traceOf('a', 'c'));
  expect(lines[0]).toBe('    1.234  aws          a');
});
