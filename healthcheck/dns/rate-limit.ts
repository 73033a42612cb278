/**
 * Response rate limiting for UDP: a budget of responses for each network of sources, so that forged queries cannot
 * turn this server into somebody's flood. The network is a /24 or a /56, what one customer usually has.
 *
 * A large response costs more than a small one, since a flood is made of bytes: so the most that anybody can turn on a
 * network is a budget of small ones, whatever is asked for. It is not how often a response is larger than its question
 * that hurts a victim.
 *
 * Of the responses over the budget every second is sent truncated, without records, so that a real resolver behind
 * the same network finds its way over TCP; it is no larger than the query. The table has a fixed size; a network that
 * is not in it takes the place of the one that used least.
 */

/** `slip`: send it truncated. `drop`: send nothing. */
export type Verdict = 'send' | 'slip' | 'drop';

export interface RateLimitOptions {
  /** Whole responses a second for each network; also how many may come at once. */
  readonly responsesPerSecond: number;
  /** Unpredictable, so that nobody can choose networks that share a place. */
  readonly seed: number;
  /** Where the budgets are, of `rateLimitMemory`, so that several threads have one budget; absent: memory of its own. */
  readonly memory?: SharedArrayBuffer;
}

export interface RateLimit {
  /** Accounts for one response to an address of 4 or 16 bytes. `nowMs` is monotonic. */
  take(source: Uint8Array, nowMs: number): Verdict;
  /** Accounts for the size of the response that `take` let out last. */
  weigh(bytes: number): void;
}

/** What a response may have for the price of one: an address answer of three sites with its signature has less. */
export const SHARE_BYTES = 256;

/** 1 MiB in all. */
const PLACES = 65_536;
const PLACE_BYTES = 17;

/** Memory for the budgets of several threads. */
export function rateLimitMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(PLACES * PLACE_BYTES);
}

/**
 * Budgets for 65,536 networks at a time, all whole at first. Threads that share them do not lock: a budget may come out a
 * response short or long when two of them take from it at the same instant, and never by more than its second.
 */
export function createRateLimit({ responsesPerSecond, seed, memory }: RateLimitOptions): RateLimit {
  const places = memory ?? new ArrayBuffer(PLACES * PLACE_BYTES);
  /** When the budget was whole, or will be whole again, in milliseconds: one number holds tokens and their time. */
  const wholeAtMs = new Float64Array(places, 0, PLACES);
  const high = new Uint32Array(places, PLACES * 8, PLACES);
  const low = new Uint32Array(places, PLACES * 12, PLACES);
  const overBudget = new Uint8Array(places, PLACES * 16, PLACES);
  const costMs = 1000 / responsesPerSecond;
  let taken = 0;
  return {
    weigh: (bytes) => {
      const further = Math.ceil(bytes / SHARE_BYTES) - 1;
      wholeAtMs[taken] = (wholeAtMs[taken] ?? 0) + further * costMs;
    },
    take: (source, nowMs) => {
      const isIpv4 = source.length === 4;
      const networkHigh = isIpv4
        ? ((source[0] ?? 0) << 16) | ((source[1] ?? 0) << 8) | (source[2] ?? 0)
        : (((source[0] ?? 0) << 24) |
            ((source[1] ?? 0) << 16) |
            ((source[2] ?? 0) << 8) |
            (source[3] ?? 0)) >>>
          0;
      // The lowest bit tells the families apart, and both from a place that was never taken.
      const networkLow = isIpv4
        ? 2
        : (((source[4] ?? 0) << 24) | ((source[5] ?? 0) << 16) | ((source[6] ?? 0) << 8) | 1) >>> 0;
      const mixed = mix(networkHigh, networkLow, seed);
      const first = mixed & (PLACES - 1);
      const second = mixed >>> 16;
      let place = first;
      if (high[first] !== networkHigh || low[first] !== networkLow) {
        place = second;
        if (high[second] !== networkHigh || low[second] !== networkLow) {
          place = (wholeAtMs[first] ?? 0) <= (wholeAtMs[second] ?? 0) ? first : second;
          high[place] = networkHigh;
          low[place] = networkLow;
          wholeAtMs[place] = nowMs;
          overBudget[place] = 0;
        }
      }
      taken = place;
      const wholeAt = Math.max(wholeAtMs[place] ?? 0, nowMs) + costMs;
      if (wholeAt <= nowMs + 1000) {
        wholeAtMs[place] = wholeAt;
        return 'send';
      }
      const over = ((overBudget[place] ?? 0) + 1) & 1;
      overBudget[place] = over;
      return over === 1 ? 'slip' : 'drop';
    },
  };
}

/** The finalizer of MurmurHash3 over both words and the seed. */
function mix(a: number, b: number, seed: number): number {
  let value = Math.imul(a ^ seed, 0x85eb_ca6b) ^ Math.imul(b, 0xc2b2_ae35);
  value = Math.imul(value ^ (value >>> 16), 0x85eb_ca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2_ae35);
  return (value ^ (value >>> 16)) >>> 0;
}
