/**
 * The quorum: what the vantages, taken together, say of one target.
 *
 * Nobody judges his own provider, so one provider can neither hide its own failure nor be withdrawn by itself. A
 * target is down only when vantages at two different other providers say so and the downs outnumber the ups: one
 * lying or cut-off provider may delay a withdrawal and never cause one. Where only one other provider looks, its word
 * suffices while it reaches a canary outside the fleet. Unknown is no vote, and a quorum that says unknown changes
 * nothing.
 */
import { type Manifest, type SiteName, vantagesOf } from '../../fleet/manifest/manifest.ts';
import type { Verdict } from './detector.ts';
import {
  isSameTarget,
  keyOf,
  siteNamed,
  type Target,
  type TargetKey,
  targetsOf,
  vantageNamed,
} from './target.ts';
import type { Vote } from './vote.ts';

/** What the quorum says; the same three words as a verdict, about more eyes. */
export type Health = Verdict;

/** One vantage's verdict as the quorum counts it. */
export interface Ballot {
  readonly provider: string;
  readonly verdict: Verdict;
  readonly observationsToChange: number;
  readonly strained: boolean;
  /** The vantage reaches a canary outside the fleet. */
  readonly outside: boolean;
}

/** The ballots of all vantages of other providers than the target's. */
export function ballotsOn(target: Target, votes: readonly Vote[], manifest: Manifest): readonly Ballot[] {
  const judged = siteNamed(manifest, target.site);
  return votes.flatMap((vote) => {
    const provider = vantageNamed(manifest, vote.vantage)?.provider;
    const entry = vote.verdicts.find((verdict) => isSameTarget(verdict, target));
    if (provider === undefined || provider === judged?.provider || entry === undefined) return [];
    const verdict = vote.isolated ? 'unknown' : entry.verdict;
    const { observationsToChange, strained } = entry;
    return [{ provider, verdict, observationsToChange, strained, outside: vote.outside }];
  });
}

/**
 * The same, and for every vantage whose word is missing one that says unknown: it may be heard again at any moment,
 * with whatever it has found out meanwhile.
 */
export function possibleBallotsOn(
  target: Target,
  votes: readonly Vote[],
  manifest: Manifest,
): readonly Ballot[] {
  const own = siteNamed(manifest, target.site)?.provider;
  const silent = vantagesOf(manifest).filter(
    ({ name, provider }) => provider !== own && !votes.some(({ vantage }) => vantage === name),
  );
  return [
    ...ballotsOn(target, votes, manifest),
    ...silent.map(({ provider }) => ({
      provider,
      verdict: 'unknown' as const,
      observationsToChange: 0,
      strained: false,
      outside: true,
    })),
  ];
}

/** How many different providers must say that the target is down: two, or one where there is only one other. */
export function providersNeeded(target: Target, manifest: Manifest): number {
  const own = siteNamed(manifest, target.site)?.provider;
  const others = new Set(
    vantagesOf(manifest)
      .map(({ provider }) => provider)
      .filter((name) => name !== own),
  );
  return Math.max(1, Math.min(2, others.size));
}

/** The health that these ballots give. */
export function healthFrom(ballots: readonly Ballot[], needed: number): Health {
  // Alone, a vantage that is cut off from the world could not tell; with two that is what the second is for.
  const downs = ballots.filter((ballot) => ballot.verdict === 'down' && (needed > 1 || ballot.outside));
  const ups = ballots.filter((ballot) => ballot.verdict === 'up');
  const providers = new Set(downs.map((ballot) => ballot.provider));
  if (providers.size >= needed && downs.length > ups.length) return 'down';
  return ups.length > downs.length ? 'up' : 'unknown';
}

/** The healths of all targets by these votes: fresh ones, the own included. */
export function healthsFrom(votes: readonly Vote[], manifest: Manifest): ReadonlyMap<TargetKey, Health> {
  return new Map(
    targetsOf(manifest).map((target) => [
      keyOf(target),
      healthFrom(ballotsOn(target, votes, manifest), providersNeeded(target, manifest)),
    ]),
  );
}

/** The health of a site from the healths of the families it publishes: down only when every one of them is. */
export function siteHealth(families: readonly Health[]): Health {
  if (families.includes('up')) return 'up';
  return families.length > 0 && families.every((health) => health === 'down') ? 'down' : 'unknown';
}

/**
 * The fewest further observations after which these ballots could give `health`: each vantage that does not say so
 * yet turns as soon as its own thresholds allow, and whether it reaches the outside may change at any moment. 0 when
 * they could give it already, Infinity when they never could.
 */
export function observationsUntil(health: 'up' | 'down', ballots: readonly Ballot[], needed: number): number {
  let turned = ballots.map((ballot) => ({ ...ballot, outside: true }));
  if (healthFrom(turned, needed) === health) return 0;
  const others = turned
    .filter((ballot) => ballot.verdict !== health)
    .toSorted((a, b) => a.observationsToChange - b.observationsToChange);
  for (const ballot of others) {
    turned = turned.map((other) => (other === ballot ? { ...ballot, verdict: health } : other));
    if (healthFrom(turned, needed) === health) return ballot.observationsToChange;
  }
  return Number.POSITIVE_INFINITY;
}

/**
 * Whether the vantage at `self` is cut off: no other provider's vantage has been heard lately, and no canary outside
 * the fleet is reached. Then the trouble is as likely here as there, and this vantage may not change its answer.
 */
export function isIsolated(
  self: SiteName,
  votes: readonly Vote[],
  manifest: Manifest,
  canaryReached: boolean,
): boolean {
  const own = vantageNamed(manifest, self)?.provider;
  const heard = votes.some((vote) => {
    const provider = vantageNamed(manifest, vote.vantage)?.provider;
    return provider !== undefined && provider !== own;
  });
  return !heard && !canaryReached;
}
