/**
 * How many hedges a sender may spend. A hedge helps when one provider is slow; when the whole fleet is slow it only
 * doubles the load that made it slow. So of the last hundred sends at most a tenth may be hedged, as if each send
 * earned a tenth of a hedge, with a few in hand from the start.
 *
 * A provider that is known to be failing costs nothing: one whose last attempt ended without any answer, or that has
 * said nothing to anybody since this attempt began, although another provider has answered in the meantime. A status
 * such as 503 is an answer: whoever gives it is overloaded rather than gone.
 */
export interface HedgeBudget {
  /** A message was asked about for the first time. */
  sent(): void;
  /** An origin answered, whatever it said. `nowMs`: monotonic, milliseconds. */
  answered(origin: string, nowMs: number): void;
  /** An attempt at an origin ended without an answer. */
  lost(origin: string): void;
  /**
   * Whether one more provider may be asked while these origins owe an answer, each since when (monotonic,
   * milliseconds). Spends what it grants.
   */
  take(awaited: ReadonlyMap<string, number>): boolean;
}

const WINDOW_SENDS = 100;
const SHARE_MAX = 0.1;
/** Granted however few the sends were, so that a client that has just started gets past a dead provider. */
const HEDGES_MIN = 3;
/** Origins that are remembered; push URLs of other services may name any number of them. */
const ORIGINS_MAX = 64;

/** A budget with its first few hedges in hand; one for each sender. */
export function createHedgeBudget(): HedgeBudget {
  /** Hedges by send, the newest last. */
  const window: number[] = [];
  let hedges = 0;
  const heardMs = new Map<string, number>();
  const lost = new Set<string>();

  const isFailing = (origin: string, sinceMs: number): boolean => {
    if (lost.has(origin)) return true;
    if ((heardMs.get(origin) ?? Number.NEGATIVE_INFINITY) > sinceMs) return false;
    return heardMs.values().some((atMs) => atMs > sinceMs);
  };
  return {
    sent: () => {
      window.push(0);
      if (window.length > WINDOW_SENDS) hedges -= window.shift() ?? 0;
    },
    answered: (origin, nowMs) => {
      lost.delete(origin);
      heardMs.delete(origin);
      heardMs.set(origin, nowMs);
      forgetOldest(heardMs);
    },
    lost: (origin) => {
      lost.add(origin);
      forgetOldest(lost);
    },
    take: (awaited) => {
      if (awaited.entries().every(([origin, sinceMs]) => isFailing(origin, sinceMs))) return true;
      if (hedges + 1 > Math.max(HEDGES_MIN, window.length * SHARE_MAX)) return false;
      hedges += 1;
      window.push((window.pop() ?? 0) + 1);
      return true;
    },
  };
}

function forgetOldest(origins: Map<string, number> | Set<string>): void {
  for (const origin of origins.keys()) {
    if (origins.size <= ORIGINS_MAX) return;
    origins.delete(origin);
  }
}
