/**
 * How long to wait before the next attempt: exponential with full jitter, so that many clients that failed
 * together do not come back together (M. Brooker, "Exponential Backoff And Jitter", 2015).
 */
export interface BackoffConfig {
  /** The ceiling before the second attempt, in milliseconds. */
  readonly baseMs: number;
  /** No wait is longer than this, in milliseconds. */
  readonly maxMs: number;
}

/**
 * Milliseconds to wait after `failures` failures in a row (1 or more); `fraction` in [0, 1) is the jitter.
 * Uniform between 0 and min(maxMs, baseMs · 2^(failures−1)).
 */
export function backoffMs(failures: number, fraction: number, config: BackoffConfig): number {
  const ceilingMs = Math.min(config.maxMs, config.baseMs * 2 ** Math.max(0, failures - 1));
  return ceilingMs * fraction;
}
