/**
 * The detector: what one vantage believes of one target, from its own probes.
 *
 * Three thresholds, as in gdnsd's `mon.c`. Going down takes `downAfter` failures, and an isolated success between
 * them forgives nothing: only `okAfter` successes in a row do. So a target that loses two packets in three is found,
 * and one that loses one in twenty is not. Coming back takes `upAfter` successes in a row, and twice as many after
 * each relapse, so that a flapping site is held down and not handed out (R8 in the reference).
 *
 * It counts observations, not seconds; time only says whether the newest observation is too old to mean anything.
 */
import type { HealthPolicy } from '../../fleet/manifest/manifest.ts';

export type Verdict = 'up' | 'down' | 'unknown';

/** One probe's evidence; local trouble never gets this far. */
export interface Observation {
  readonly ready: boolean;
  /** When it was made, monotonic milliseconds. */
  readonly atMs: number;
}

interface Memory {
  /** When the newest observation was made, monotonic milliseconds; undefined before the first. */
  readonly newestMs: number | undefined;
  /** Relapses soon after a recovery; each doubles the successes that the next recovery takes. */
  readonly relapses: number;
  /** The first failure that is not forgiven, monotonic milliseconds; kept while the verdict is down. */
  readonly failingSinceMs: number | undefined;
}

export type Detector = Memory &
  (
    | { readonly verdict: 'unknown'; readonly failures: number; readonly successes: number }
    | {
        readonly verdict: 'up';
        readonly failures: number;
        readonly successes: number;
        /** Observations since it came up, at most `FORGIVEN_AFTER`. */
        readonly steadyFor: number;
      }
    | { readonly verdict: 'down'; readonly successes: number }
  );

/** Without an observation for this many intervals the verdict is unknown, and counting starts again. */
export const STALE_AFTER_INTERVALS = 3;
/** A target that stays up for this many observations has no relapses on its record: 10 min at 2 s. */
export const FORGIVEN_AFTER = 300;
/** The hold-down never grows beyond `upAfter` · 2^4: 320 s in the default profile. */
export const RELAPSES_MAX = 4;

export const NEW_DETECTOR: Detector = {
  verdict: 'unknown',
  failures: 0,
  successes: 0,
  newestMs: undefined,
  relapses: 0,
  failingSinceMs: undefined,
};

type Thresholds = Pick<HealthPolicy, 'probeIntervalMs' | 'downAfter' | 'okAfter' | 'upAfter'>;

/** The detector after one more observation. */
export function observe(before: Detector, observation: Observation, policy: Thresholds): Detector {
  const fresh = isStale(before, observation.atMs, policy) ? withoutCounts(before) : before;
  const detector = { ...fresh, newestMs: observation.atMs };
  switch (detector.verdict) {
    case 'unknown':
      return observation.ready ? firstSuccess(detector, policy) : failure(detector, FORGIVEN_AFTER, policy);
    case 'up':
      return observation.ready ? success(detector, policy) : failure(detector, detector.steadyFor, policy);
    case 'down': {
      if (!observation.ready) return { ...detector, successes: 0 };
      const successes = detector.successes + 1;
      if (successes < successesNeeded(detector, policy)) return { ...detector, successes };
      return { ...memoryOfUp(detector), verdict: 'up', failures: 0, successes: 0, steadyFor: 0 };
    }
  }
}

/** What the vantage says of the target at `nowMs`: unknown when it has not looked for too long. */
export function verdictAt(detector: Detector, nowMs: number, policy: Thresholds): Verdict {
  return isStale(detector, nowMs, policy) ? 'unknown' : detector.verdict;
}

/** The fewest further observations after which `verdictAt` could say something else; at least 1. */
export function observationsToChange(detector: Detector, nowMs: number, policy: Thresholds): number {
  if (isStale(detector, nowMs, policy)) return 1;
  switch (detector.verdict) {
    case 'unknown':
      return Math.max(1, Math.min(policy.downAfter - detector.failures, policy.okAfter - detector.successes));
    case 'up':
      return Math.max(1, policy.downAfter - detector.failures);
    case 'down':
      return Math.max(1, successesNeeded(detector, policy) - detector.successes);
  }
}

type Unknown = Extract<Detector, { verdict: 'unknown' }>;
type Up = Extract<Detector, { verdict: 'up' }>;

function firstSuccess(detector: Unknown, policy: Thresholds): Detector {
  const successes = detector.successes + 1;
  if (successes < policy.okAfter) return { ...detector, successes };
  return {
    ...memoryOfUp(detector),
    verdict: 'up',
    failures: 0,
    successes: 0,
    steadyFor: detector.relapses === 0 ? FORGIVEN_AFTER : 0,
  };
}

function success(detector: Up, policy: Thresholds): Detector {
  const steadyFor = Math.min(FORGIVEN_AFTER, detector.steadyFor + 1);
  if (detector.failures === 0) return { ...detector, steadyFor };
  const successes = detector.successes + 1;
  const forgiven = successes >= policy.okAfter;
  return {
    ...detector,
    steadyFor,
    failures: forgiven ? 0 : detector.failures,
    successes: forgiven ? 0 : successes,
    failingSinceMs: forgiven ? undefined : detector.failingSinceMs,
  };
}

function failure(detector: Unknown | Up, steadyFor: number, policy: Thresholds): Detector {
  const failures = detector.failures + 1;
  const { newestMs } = detector;
  const failingSinceMs = detector.failures === 0 ? newestMs : detector.failingSinceMs;
  if (failures < policy.downAfter) return { ...detector, failures, successes: 0, failingSinceMs };
  const relapses = steadyFor >= FORGIVEN_AFTER ? 0 : Math.min(RELAPSES_MAX, detector.relapses + 1);
  return { newestMs, relapses, failingSinceMs, verdict: 'down', successes: 0 };
}

function successesNeeded(detector: Memory, policy: Thresholds): number {
  return policy.upAfter * 2 ** detector.relapses;
}

function memoryOfUp({ newestMs, relapses }: Memory): Memory {
  return { newestMs, relapses, failingSinceMs: undefined };
}

function isStale({ newestMs }: Memory, nowMs: number, policy: Thresholds): boolean {
  return newestMs === undefined || nowMs - newestMs > STALE_AFTER_INTERVALS * policy.probeIntervalMs;
}

/** After a gap the verdict still stands, but what was counted before it is no longer "in a row". */
function withoutCounts(detector: Detector): Detector {
  return detector.verdict === 'down'
    ? { ...detector, successes: 0 }
    : { ...detector, failures: 0, successes: 0, failingSinceMs: undefined };
}
