/**
 * A clock that a test moves by hand, for code that awaits between its timers: after each timer the pending promises
 * run before time goes on, so loops that sleep behave as they do with real time, only faster.
 */
import { setImmediate as turn } from 'node:timers/promises';
import type { Clock } from '../../system/clock.ts';

export interface FakeClock extends Clock {
  /** Moves both times forward, timer by timer, and lets everything that can run do so. */
  advance(ms: number): Promise<void>;
  /** Lets everything run that waits for no timer. */
  settle(): Promise<void>;
  /** Timers that have neither fired nor been cancelled. */
  readonly pending: () => number;
}

interface Timer {
  readonly atMs: number;
  readonly callback: () => void;
}

/** Turns of the event loop after which promises that wait for nothing else have settled. */
const TURNS = 3;

async function settle(): Promise<void> {
  for (let left = TURNS; left > 0; left -= 1) await turn();
}

export function createFakeClock(wallMs = 1_800_000_000_000): FakeClock {
  const timers = new Set<Timer>();
  let nowMs = 0;
  const after: Clock['after'] = (ms, callback) => {
    const timer = { atMs: nowMs + Math.max(0, ms), callback };
    timers.add(timer);
    return () => void timers.delete(timer);
  };
  const nextBefore = (untilMs: number): Timer | undefined => {
    let next: Timer | undefined;
    for (const timer of timers) {
      if (timer.atMs <= untilMs && (next === undefined || timer.atMs < next.atMs)) next = timer;
    }
    return next;
  };
  return {
    monotonicMs: () => nowMs,
    wallMs: () => wallMs + Math.floor(nowMs),
    after,
    sleep: async (ms, signal) => {
      signal?.throwIfAborted();
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const cancel = after(ms, resolve);
      const abort = (): void => {
        cancel();
        reject(signal?.reason instanceof Error ? signal.reason : new Error('aborted'));
      };
      signal?.addEventListener('abort', abort, { once: true });
      try {
        await promise;
      } finally {
        signal?.removeEventListener('abort', abort);
      }
    },
    settle,
    pending: () => timers.size,
    advance: async (ms) => {
      const untilMs = nowMs + ms;
      await settle();
      for (let next = nextBefore(untilMs); next !== undefined; next = nextBefore(untilMs)) {
        timers.delete(next);
        nowMs = Math.max(nowMs, next.atMs);
        next.callback();
        await settle();
      }
      nowMs = untilMs;
    },
  };
}
