/**
 * A clock that a test moves by hand. Both of its times advance together; timers fire in order, at their own instant.
 */
import type { Clock } from '../../system/clock.ts';

export interface ManualClock extends Clock {
  /** Moves time forward and runs every timer that falls due. */
  advance(ms: number): void;
}

const WALL_ORIGIN_MS = 1_800_000_000_000;

export function createManualClock(): ManualClock {
  let nowMs = 0;
  let timers: readonly { readonly atMs: number; readonly callback: () => void }[] = [];
  const after = (ms: number, callback: () => void): (() => void) => {
    const timer = { atMs: nowMs + ms, callback };
    timers = [...timers, timer];
    return () => {
      timers = timers.filter((other) => other !== timer);
    };
  };
  return {
    monotonicMs: () => nowMs,
    wallMs: () => WALL_ORIGIN_MS + Math.floor(nowMs),
    after,
    sleep: async (ms) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      after(ms, resolve);
      await promise;
    },
    advance: (ms) => {
      const untilMs = nowMs + ms;
      for (;;) {
        const next = timers.toSorted((a, b) => a.atMs - b.atMs)[0];
        if (next === undefined || next.atMs > untilMs) break;
        timers = timers.filter((other) => other !== next);
        nowMs = Math.max(nowMs, next.atMs);
        next.callback();
      }
      nowMs = untilMs;
    },
  };
}
