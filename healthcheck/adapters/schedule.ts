/**
 * Constant work (R21 in the reference): each task runs at a fixed period from a random phase, whether the last run
 * succeeded, failed or is still under way. Runs that a stalled machine missed are skipped and not made up for, so
 * they never bunch.
 */
import type { Clock } from '../../system/clock.ts';
import type { Random } from '../../system/random.ts';

/** Calls `task` every `periodMs` until the returned function is called. */
export function everyPeriod(
  periodMs: number,
  task: () => void,
  { clock, random }: { readonly clock: Clock; readonly random: Random },
): () => void {
  const originMs = clock.monotonicMs() + random.fraction() * periodMs;
  let turn = 0;
  let cancel: (() => void) | undefined;
  const plan = (): void => {
    cancel = clock.after(Math.max(0, originMs + turn * periodMs - clock.monotonicMs()), run);
  };
  const run = (): void => {
    const passed = Math.floor((clock.monotonicMs() - originMs) / periodMs);
    turn = Math.max(turn, passed) + 1;
    plan();
    task();
  };
  plan();
  return () => cancel?.();
}
