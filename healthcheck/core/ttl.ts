/**
 * How long an answer may be cached: until the earliest moment at which it could change (gdnsd's idea). A cached
 * answer then runs out at about the moment of the change, and not one whole TTL after it.
 *
 * It could change when the votes could withdraw a target that is in it, or return one that is not, and when an
 * override ends. When an operator will give one, nobody can know.
 */
import type { HealthPolicy, Manifest } from '../../fleet/manifest/manifest.ts';
import { overrideOf } from '../../fleet/manifest/overrides.ts';
import type { Answer, Deferred } from './failover.ts';
import { isFrozen, untilOverrideEndsMs } from './override.ts';
import { observationsUntil, possibleBallotsOn, providersNeeded } from './quorum.ts';
import { keyOf, type Target, targetsOf } from './target.ts';
import type { Vote } from './vote.ts';

export interface TtlInput {
  readonly answer: Answer;
  /** The fresh votes, this vantage's own included. */
  readonly votes: readonly Vote[];
  readonly deferred: readonly Deferred[];
  readonly isolated: boolean;
  /** Monotonic milliseconds. */
  readonly nowMs: number;
  /** Milliseconds since 1970. */
  readonly wallMs: number;
  readonly manifest: Manifest;
}

/** Seconds, between `ttlMinSeconds` and `ttlMaxSeconds`; the minimum while this vantage is isolated. */
export function ttlSeconds(input: TtlInput): number {
  const { manifest } = input;
  const policy = manifest.health;
  if (input.isolated) return policy.ttlMinSeconds;
  const untilMs = isFrozen(manifest, input.wallMs)
    ? []
    : targetsOf(manifest).map((target) => untilChangeMs(target, input));
  const earliestMs = Math.min(untilOverrideEndsMs(manifest, input.wallMs), ...untilMs);
  return clamp(Math.floor(earliestMs / 1000), policy);
}

/** The earliest time at which votes could turn this target in or out. */
function untilChangeMs(target: Target, input: TtlInput): number {
  const { manifest, answer } = input;
  if (overrideOf(target.site, manifest, input.wallMs) !== undefined) return Number.POSITIVE_INFINITY;
  const deferral = input.deferred.find((deferred) => deferred.target === keyOf(target));
  if (deferral?.reason === 'withdrawal_window') return windowLeftMs(input);
  const next = answer.targets.includes(keyOf(target)) ? 'down' : 'up';
  const ballots = possibleBallotsOn(target, input.votes, manifest);
  const observations = observationsUntil(next, ballots, providersNeeded(target, manifest));
  return observations * manifest.health.probeIntervalMs;
}

function windowLeftMs({ answer, nowMs, manifest }: TtlInput): number {
  const last = answer.lastWithdrawal;
  return last === undefined ? 0 : Math.max(0, last.atMs + manifest.health.withdrawalWindowMs - nowMs);
}

function clamp(seconds: number, policy: Pick<HealthPolicy, 'ttlMinSeconds' | 'ttlMaxSeconds'>): number {
  return Math.min(policy.ttlMaxSeconds, Math.max(policy.ttlMinSeconds, seconds));
}
