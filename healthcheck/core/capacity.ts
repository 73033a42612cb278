/**
 * Remaining capacity (R10 in the reference): before a site leaves that still serves, though slowly, whether those that
 * remain could carry its clients. A surge makes sites slow one after the other; each that left would make the next one
 * slower, until nobody is left. So a slow site is worth more in the answer than out of it while the others have no room.
 *
 * A site is strained that says it is crowded, or that answers a probe after its deadline and before the next probe.
 * Nothing comes back from a site that is dead, so it is never strained, and leaves however little remains: keeping it
 * would help nobody.
 */
import type { HealthPolicy, Manifest } from '../../fleet/manifest/manifest.ts';
import { ballotsOn, type Health, providersNeeded } from './quorum.ts';
import { keyOf, siteNamed, type Target, type TargetKey, targetsOf } from './target.ts';
import type { Vote } from './vote.ts';

/** A sign of strain counts for so many intervals: late answers are further apart than one. */
export const STRAINED_FOR_INTERVALS = 2;
/** What must be left for a slow site to leave, of all capacity. */
export const CAPACITY_KEPT_PERCENT = 50;

/** Whether a vantage calls a target strained that showed it last at `signMs` (monotonic; undefined: never). */
export function isStrained(
  signMs: number | undefined,
  nowMs: number,
  { probeIntervalMs }: Pick<HealthPolicy, 'probeIntervalMs'>,
): boolean {
  return signMs !== undefined && nowMs - signMs <= STRAINED_FOR_INTERVALS * probeIntervalMs;
}

/**
 * The strained targets by these votes: somebody says so, and of those who agree on the health fewer providers deny it
 * than a withdrawal takes. So one lying provider may delay the withdrawal of a dead site, and never cause one.
 */
export function strainedFrom(
  votes: readonly Vote[],
  healths: ReadonlyMap<TargetKey, Health>,
  manifest: Manifest,
): ReadonlySet<TargetKey> {
  const strained = targetsOf(manifest).filter((target) => {
    const health = healths.get(keyOf(target));
    const ballots = ballotsOn(target, votes, manifest).filter(({ verdict }) => verdict === health);
    const denying = new Set(ballots.filter((one) => !one.strained).map(({ provider }) => provider));
    return ballots.some((one) => one.strained) && denying.size < providersNeeded(target, manifest);
  });
  return new Set(strained.map(keyOf));
}

/** Whether targets that have room are at least half of a family's capacity. */
export function canCarry(
  withRoom: readonly Target[],
  family: readonly Target[],
  manifest: Pick<Manifest, 'sites' | 'steering'>,
): boolean {
  // With `priority` weights say who comes first, and nothing about size.
  const capacityOf = (target: Target): number =>
    manifest.steering === 'priority' ? 1 : (siteNamed(manifest, target.site)?.weight ?? 0);
  const sum = (targets: readonly Target[]): number =>
    targets.reduce((total, target) => total + capacityOf(target), 0);
  return 100 * sum(withRoom) >= CAPACITY_KEPT_PERCENT * sum(family);
}
