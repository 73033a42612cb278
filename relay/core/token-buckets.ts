/**
 * Rates by key: each key has a bucket that fills at a fixed rate and is emptied by use.
 *
 * A bucket that nobody knows is a full one, so forgetting one is forgiving and never unjust; that is what bounds
 * the memory.
 */
export interface TokenBucketsConfig {
  readonly perSecond: number;
  /** What a full bucket holds. */
  readonly burst: number;
  /** Buckets remembered; the one that was idle the longest is forgotten first. */
  readonly keysMax: number;
}

export interface TokenBuckets {
  /** Takes one token; false when there is none. `nowMs`: monotonic. */
  take(key: string, nowMs: number): boolean;
  readonly size: number;
}

/** Buckets that fill at `perSecond` up to `burst`; beyond `keysMax` keys the one used longest ago is forgotten. */
export function createTokenBuckets({ perSecond, burst, keysMax }: TokenBucketsConfig): TokenBuckets {
  const buckets = new Map<string, { tokens: number; atMs: number }>();
  return {
    get size() {
      return buckets.size;
    },
    take: (key, nowMs) => {
      const bucket = buckets.get(key) ?? { tokens: burst, atMs: nowMs };
      bucket.tokens = Math.min(burst, bucket.tokens + ((nowMs - bucket.atMs) * perSecond) / 1000);
      bucket.atMs = nowMs;
      buckets.delete(key);
      buckets.set(key, bucket);
      const [idlest] = buckets.keys();
      if (buckets.size > keysMax && idlest !== undefined) buckets.delete(idlest);
      if (bucket.tokens < 1) return false;
      bucket.tokens -= 1;
      return true;
    },
  };
}
