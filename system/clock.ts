/**
 * Time as an argument: whoever measures, waits or stamps takes a Clock.
 *
 * Two times that must not be mixed: the monotonic one, for measuring and for deadlines, and the wall clock, for
 * what is stored and read by other machines. A simulator replaces both.
 */
import { setTimeout as sleepFor } from 'node:timers/promises';

export interface Clock {
  /**
   * Milliseconds, with fractions, since an origin that all processes of one machine share
   * (CLOCK_MONOTONIC). Never goes back. For measuring, never for storing.
   */
  monotonicMs(): number;
  /** Milliseconds since 1970-01-01T00:00:00Z, whole. May jump. For what is stored or sent. */
  wallMs(): number;
  /** Resolves after `ms` milliseconds, or rejects with the signal's reason as soon as it aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Calls `callback` once after `ms` milliseconds, unless the returned function is called before. */
  after(ms: number, callback: () => void): () => void;
}

/** What `performance.now()` counts from, on the clock that all processes share; both are CLOCK_MONOTONIC. */
const STARTED_MS: number = Number(process.hrtime.bigint() / 1000n) / 1000 - performance.now();

export const systemClock: Clock = {
  monotonicMs: () => STARTED_MS + performance.now(),
  wallMs: () => Date.now(),
  sleep: async (ms, signal) => {
    signal?.throwIfAborted();
    try {
      await sleepFor(ms, undefined, signal === undefined ? {} : { signal });
    } catch (error) {
      // node:timers wraps the reason in an AbortError; callers of ours compare reasons.
      signal?.throwIfAborted();
      throw error;
    }
  },
  after: (ms, callback) => {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
};
