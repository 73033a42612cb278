/** The system's clock: what callers build on. */
import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { systemClock } from './clock.ts';

test('the monotonic clock is one for all processes of this machine', () => {
  const before = systemClock.monotonicMs();
  const child = spawnSync(
    process.execPath,
    [
      '--input-type=module',
      '-e',
      "import {systemClock} from './system/clock.ts'; console.log(systemClock.monotonicMs())",
    ],
    { encoding: 'utf8', cwd: `${import.meta.dirname}/..` },
  );
  const after = systemClock.monotonicMs();
  expect(Number(child.stdout)).toBeGreaterThan(before);
  expect(Number(child.stdout)).toBeLessThan(after);
});

test('a sleep that is interrupted rejects with the reason it was given', async () => {
  const controller = new AbortController();
  const reason = new Error('enough');
  const sleeping = systemClock.sleep(60_000, controller.signal);
  controller.abort(reason);
  await expect(sleeping).rejects.toBe(reason);
  await expect(systemClock.sleep(1, controller.signal)).rejects.toBe(reason);
});

test('a call that was cancelled does not happen', async () => {
  let calls = 0;
  const cancel = systemClock.after(5, () => {
    calls += 1;
  });
  cancel();
  const { promise, resolve } = Promise.withResolvers<void>();
  systemClock.after(20, resolve);
  await promise;
  expect(calls).toBe(0);
});
