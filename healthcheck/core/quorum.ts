/**
 * The quorum: what the vantages, taken together, say of one target.
 *
 * Nobody judges his own provider, so one provider can neither hide its own failure nor be withdrawn by itself. A
 * target is down only when vantages at two different other providers say so and the downs outnumber the ups: one
 * lying or cut-off provider may delay a withdrawal and never cause one. Where the manifest has only one other
 * provider its word suffices. Unknown is no vote, and a quorum that says unknown changes nothing.
 */
import type { Manifest, SiteName } from '../../fleet/manifest.ts';
import type { Verdict } from './detector.ts';
import { keyOf, siteNamed, type Target } from './target.ts';
import type { Vote } from './vote.ts';

/** What the quorum says; the same three words as a verdict, about more eyes. */
export type Health = Verdict;

/** One vantage's verdict as the quorum counts it. */
export interface Ballot {
  readonly provider: string;
  readonly verdict: Verdict;
  readonly observationsToChange: number;
}

/** The ballots of all vantages of other providers than the target's. */
export function ballotsOn(target: Target, votes: readonly Vote[], manifest: Manifest): readonly Ballot[] {
  const judged = siteNamed(manifest, target.site);
  return votes.flatMap((vote) => {
    const provider = siteNamed(manifest, vote.vantage)?.provider;
    const entry = vote.verdicts.find((verdict) => keyOf(verdict) === keyOf(target));
    if (provider === undefined || provider === judged?.provider || entry === undefined) return [];
    const verdict = vote.isolated ? 'unknown' : entry.verdict;
    return [{ provider, verdict, observationsToChange: entry.observationsToChange }];
  });
}

/** How many different providers must say that the target is down: two, or one where there is only one other. */
export function providersNeeded(target: Target, manifest: Manifest): number {
  const own = siteNamed(manifest, target.site)?.provider;
  const others = new Set(manifest.sites.map((site) => site.provider).filter((name) => name !== own));
  return Math.max(1, Math.min(2, others.size));
}

/** The health that these ballots give. */
export function healthFrom(ballots: readonly Ballot[], needed: number): Health {
  const downs = ballots.filter((ballot) => ballot.verdict === 'down');
  const ups = ballots.filter((ballot) => ballot.verdict === 'up');
  const providers = new Set(downs.map((ballot) => ballot.provider));
  if (providers.size >= needed && downs.length > ups.length) return 'down';
  return ups.length > downs.length ? 'up' : 'unknown';
}

/** The health of a site from the healths of the families it publishes: down only when every one of them is. */
export function siteHealth(families: readonly Health[]): Health {
  if (families.includes('up')) return 'up';
  return families.length > 0 && families.every((health) => health === 'down') ? 'down' : 'unknown';
}

/**
 * The fewest further observations after which these ballots could give `health`: each vantage that does not say so
 * yet turns as soon as its own thresholds allow. 0 when they give it already, Infinity when they never could.
 */
export function observationsUntil(health: 'up' | 'down', ballots: readonly Ballot[], needed: number): number {
  let turned = [...ballots];
  if (healthFrom(turned, needed) === health) return 0;
  const others = ballots
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
  const own = siteNamed(manifest, self)?.provider;
  const heard = votes.some((vote) => {
    const provider = siteNamed(manifest, vote.vantage)?.provider;
    return provider !== undefined && provider !== own;
  });
  return !heard && !canaryReached;
}
