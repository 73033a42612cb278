/**
 * Rates by key: each key has a bucket that fills at a fixed rate and is emptied by use.
 *
 * A bucket that nobody knows is a full one, so forgetting one is forgiving and never unjust; that is what bounds
 * the memory.
 */
import { createRecent } from './recent.ts';

export interface TokenBucketsConfig {
  readonly perSecond: number;
  /** What a full bucket holds. */
  readonly burst: number;
  /** Buckets remembered; the one that was idle the longest is forgotten first. */
  readonly keysMax: number;
}

export interface TokenBuckets {
  /** Takes `count` tokens, 1 by default, or none and gives false when there are fewer. `nowMs`: monotonic. */
  take(key: string, nowMs: number, count?: number): boolean;
  /** How many tokens there are; takes none and remembers nothing. */
  left(key: string, nowMs: number): number;
  readonly size: number;
}

/** Buckets that fill at `perSecond` up to `burst`; beyond `keysMax` keys the one used longest ago is forgotten. */
export function createTokenBuckets({ perSecond, burst, keysMax }: TokenBucketsConfig): TokenBuckets {
  const buckets = createRecent<string, { tokens: number; atMs: number }>(keysMax);
  const tokensOf = (key: string, nowMs: number): number => {
    const bucket = buckets.get(key) ?? { tokens: burst, atMs: nowMs };
    return Math.min(burst, bucket.tokens + ((nowMs - bucket.atMs) * perSecond) / 1000);
  };
  return {
    get size() {
      return buckets.size;
    },
    left: tokensOf,
    take: (key, nowMs, count = 1) => {
      const bucket = { tokens: tokensOf(key, nowMs), atMs: nowMs };
      buckets.set(key, bucket);
      if (bucket.tokens < count) return false;
      bucket.tokens -= count;
      return true;
    },
  };
}
