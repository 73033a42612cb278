/**
 * The message canary: which pairs of targets carry an encrypted message next, and what it says of each that messages
 * did or did not get through. `/readyz` is a site's own word; a canary is what a sender and a recipient would see.
 *
 * A message that does not arrive has at least two places where it may have been lost. So a canary counts against a
 * target only when it failed `downAfter` times in a row in one role (storing or fetching) with two different partners
 * or more, all of them ready by their own probes, while a message between two others got through: what fails
 * everywhere says something about the canary, and about no site.
 *
 * Of two targets, each has only one other. So there every second message is stored and fetched through the same one,
 * which is its own partner then: who fails with the other and alone, while the other does not fail alone, is at fault.
 */
import type { HealthPolicy } from '../../fleet/manifest/manifest.ts';
import { FAMILIES, keyOf, type Target, type TargetKey } from './target.ts';

/** A message is stored through one target and fetched through another of the same family; of two targets also the same. */
export interface CanaryPair {
  readonly store: Target;
  readonly fetch: Target;
}

/**
 * `not_stored`: the first site did not take it. `not_delivered`: it was accepted, and the second site answers and
 * does not have it. `not_fetched`: the second site did not answer, or did not take the ack. `refused`: the request
 * itself was refused, or a site asked for patience. The rest is trouble of this vantage.
 */
export const CANARY_OUTCOMES = [
  'delivered',
  'not_stored',
  'not_delivered',
  'not_fetched',
  'refused',
  'local_error',
  'local_stall',
] as const;
export type CanaryOutcome = (typeof CANARY_OUTCOMES)[number];

/**
 * The pairs of one round: every target stores once and fetches once, so a round is the same work whatever the round
 * before said, and after n−1 rounds every target has had every other as its partner in both roles. Of two targets, each
 * has the other and itself in turn.
 */
export function pairsOf(targets: readonly Target[], round: number): readonly CanaryPair[] {
  return FAMILIES.flatMap((family) => {
    const own = targets.filter((target) => target.family === family);
    if (own.length < 2) return [];
    const step = own.length === 2 ? (round + 1) % 2 : 1 + (round % (own.length - 1));
    return own.flatMap((store, index) => {
      const fetch = own[(index + step) % own.length];
      return fetch === undefined ? [] : [{ store, fetch }];
    });
  });
}

/** What canaries of one target in one role said since the last one that got through. */
interface Streak {
  /** The partner of each failure, oldest first, at most `downAfter`. */
  readonly partners: readonly TargetKey[];
  /** Monotonic milliseconds. */
  readonly newestMs: number;
}

type Role = 'store' | 'fetch';
const ROLES: readonly Role[] = ['store', 'fetch'];

export interface CanaryBook {
  /** By role and target. */
  readonly streaks: ReadonlyMap<`${Role} ${TargetKey}`, Streak>;
  /** When a message last got through, by the pair's two targets; monotonic milliseconds. */
  readonly deliveredMs: ReadonlyMap<`${TargetKey} ${TargetKey}`, number>;
}

export const NEW_CANARY_BOOK: CanaryBook = { streaks: new Map(), deliveredMs: new Map() };

type Policy = Pick<HealthPolicy, 'canaryIntervalMs' | 'downAfter'>;

/**
 * The book after one more canary. `bothReady`: the newest probe of either target found it ready; a partner that is
 * down explains a failure, so it is then no evidence.
 */
export function noteCanary(
  book: CanaryBook,
  { store, fetch }: CanaryPair,
  outcome: CanaryOutcome,
  {
    bothReady,
    nowMs,
    policy,
  }: { readonly bothReady: boolean; readonly nowMs: number; readonly policy: Policy },
): CanaryBook {
  const streaks = new Map(book.streaks);
  const [storeKey, fetchKey] = [keyOf(store), keyOf(fetch)];
  const blamed = bothReady ? BLAMED[outcome] : [];
  for (const role of ROLES) {
    const slot = `${role} ${role === 'store' ? storeKey : fetchKey}` as const;
    if (outcome === 'delivered') streaks.delete(slot);
    else if (blamed.includes(role)) {
      const partner = role === 'store' ? fetchKey : storeKey;
      const partners = [...(streaks.get(slot)?.partners ?? []), partner].slice(-policy.downAfter);
      streaks.set(slot, { partners, newestMs: nowMs });
    }
  }
  if (outcome !== 'delivered') return { ...book, streaks };
  return { streaks, deliveredMs: new Map(book.deliveredMs).set(`${storeKey} ${fetchKey}`, nowMs) };
}

/** Against whom each outcome speaks. */
const BLAMED: Readonly<Record<CanaryOutcome, readonly Role[]>> = {
  delivered: [],
  not_stored: ['store'],
  not_delivered: ['store', 'fetch'],
  not_fetched: ['fetch'],
  refused: [],
  local_error: [],
  local_stall: [],
};

/** Whether messages do not get through this target, as far as canaries can tell; `targets` are all of the fleet. */
export function failsByCanary(
  target: Target,
  book: CanaryBook,
  {
    targets,
    nowMs,
    policy,
  }: { readonly targets: readonly Target[]; readonly nowMs: number; readonly policy: Policy },
): boolean {
  const key = keyOf(target);
  // After so long every partner has had its turn; what is older says nothing about now.
  const memoryMs =
    (targets.filter(({ family }) => family === target.family).length + 1) * policy.canaryIntervalMs;
  const fails = ROLES.some((role) => {
    const streak = book.streaks.get(`${role} ${key}`);
    return (
      streak !== undefined &&
      nowMs - streak.newestMs <= memoryMs &&
      streak.partners.length >= policy.downAfter &&
      new Set(streak.partners).size > 1
    );
  });
  return (
    fails &&
    [...book.deliveredMs].some(
      ([pair, atMs]) => nowMs - atMs <= memoryMs && !pair.split(' ').some((other) => other === key),
    )
  );
}
