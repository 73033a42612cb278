/**
 * The policy: from the healths of all targets and the previous answer to the next one.
 *
 * The worst DNS outages were withdrawals that nobody meant and answers that were empty. So this file refuses more
 * than it does: it never gives an empty answer, never leaves a family without a target that somebody knows to
 * serve, withdraws at most one provider within a window, and takes silence for silence. For each family, among the
 * targets that no operator has drained:
 *
 *   one or more up                  previous + up − down     failover and return; see the window below
 *   one or more slow and needed     the same, and those      they serve, and the rest could not carry their
 *                                                            clients: `capacity.ts`
 *   none of these, some unknown     previous                 silence is not evidence
 *   all down                        draining ones that are up; else all but the drained, fail open: then checking
 *                                   has failed, not the world
 *
 * While this vantage is isolated, or the fleet is frozen, every health is unknown. Overrides count even then.
 *
 * The window: a target that is down leaves only if no target of another provider left within `withdrawalWindowMs`.
 * A provider's second target may follow its first at once, and an operator's drain waits for nothing.
 */
import type { Manifest } from '../../fleet/manifest/manifest.ts';
import { overrideOf } from '../../fleet/manifest/overrides.ts';
import { fail, ok, type Result } from '../../system/result.ts';
import { canCarry } from './capacity.ts';
import { isFrozen } from './override.ts';
import type { Health } from './quorum.ts';
import { FAMILIES, type Family, keyOf, siteNamed, type Target, type TargetKey, targetsOf } from './target.ts';

interface Withdrawal {
  readonly provider: string;
  /** Monotonic milliseconds. */
  readonly atMs: number;
}

/** A target that came back and has not yet its whole share of clients. */
interface Warming {
  readonly target: TargetKey;
  /** Monotonic milliseconds. */
  readonly sinceMs: number;
}

/** What DNS gives out. */
export interface Answer {
  /** Grows by one with every change. */
  readonly generation: number;
  /** In the manifest's order; never without a target of a family that the manifest publishes. */
  readonly targets: readonly TargetKey[];
  /** Families in which every target is down, so all of them are given out. */
  readonly failOpen: readonly Family[];
  readonly lastWithdrawal: Withdrawal | undefined;
  /** Some may be warm by now: `rotation.ts` knows. */
  readonly warming: readonly Warming[];
}

export const DEFERRALS = ['withdrawal_window', 'none_known_up', 'last_of_family', 'capacity'] as const;
type Deferral = (typeof DEFERRALS)[number];

/** A target that is down or drained and stays in the answer for now. */
export interface Deferred {
  readonly target: TargetKey;
  readonly reason: Deferral;
}

export interface ChoiceInput {
  readonly healths: ReadonlyMap<TargetKey, Health>;
  /** Targets that serve, and are at their limit. */
  readonly strained: ReadonlySet<TargetKey>;
  readonly previous: Answer;
  /** Monotonic milliseconds. */
  readonly nowMs: number;
  /** Milliseconds since 1970: overrides end at a date. */
  readonly wallMs: number;
  readonly isolated: boolean;
  readonly manifest: Manifest;
}

/** A proposal for the next answer; it becomes one when `applyChoice` finds that nothing changed meanwhile. */
export interface Choice extends Omit<Answer, 'generation'> {
  /** The generation that this choice was made from. */
  readonly basedOn: number;
  readonly deferred: readonly Deferred[];
}

export type Choose = (input: ChoiceInput) => Choice;

/** The answer that gives out every target: where a vantage without any knowledge begins. */
export function answerWithAll(manifest: Manifest, generation: number): Answer {
  const targets = targetsOf(manifest).map(keyOf);
  return { generation, targets, failOpen: [], lastWithdrawal: undefined, warming: [] };
}

/** What `previous` becomes under another manifest: without the targets that it no longer has, and never empty. */
export function answerUnder(manifest: Manifest, previous: Answer): Answer {
  const targets = targetsOf(manifest)
    .filter(
      (target, _, all) =>
        previous.targets.includes(keyOf(target)) ||
        !all.some((other) => other.family === target.family && previous.targets.includes(keyOf(other))),
    )
    .map(keyOf);
  return { ...previous, targets, generation: previous.generation + 1 };
}

/** The next answer by the table above. */
export function choose(input: ChoiceInput): Choice {
  const { previous, manifest, nowMs } = input;
  const plans = FAMILIES.map((family) => planFamily(family, input));
  const leaving = plans.flatMap((plan) => plan.leaving);
  const provider = providerThatMayLeave(leaving, input);
  const gone = leaving.filter((target) => providerOf(target, manifest) === provider).map(keyOf);
  const held = leaving.map(keyOf).filter((key) => !gone.includes(key));
  const wanted = new Set([...plans.flatMap((plan) => plan.staying.map(keyOf)), ...held]);
  const targets = targetsOf(manifest)
    .map(keyOf)
    .filter((key) => wanted.has(key));
  const failOpen = plans.flatMap((plan) => (plan.failOpen ? [plan.family] : []));
  return {
    basedOn: previous.generation,
    targets,
    failOpen,
    lastWithdrawal: provider === undefined ? previous.lastWithdrawal : { provider, atMs: nowMs },
    warming: warmingIn(targets, failOpen, input),
    deferred: [
      ...held.map((target) => ({ target, reason: 'withdrawal_window' as const })),
      ...plans.flatMap((plan) => plan.kept),
    ],
  };
}

export const APPLY_REFUSALS = ['generation_moved', 'family_empty', 'unchanged'] as const;
export type ApplyRefusal = (typeof APPLY_REFUSALS)[number];

/**
 * Compare-and-set: `current` is what is served at this very moment, and the choice holds only if it was made from
 * exactly that. An answer without any target of a published family is refused here too, whoever proposed it.
 */
export function applyChoice(
  current: Answer,
  choice: Choice,
  manifest: Manifest,
): Result<Answer, ApplyRefusal> {
  if (choice.basedOn !== current.generation) return fail('generation_moved');
  const published = targetsOf(manifest);
  const chosen = published.filter((target) => choice.targets.includes(keyOf(target)));
  const complete = published.every((target) => chosen.some((other) => other.family === target.family));
  if (!complete) return fail('family_empty');
  const same = sameList(choice.targets, current.targets) && sameList(choice.failOpen, current.failOpen);
  if (same) return fail('unchanged');
  return ok({
    generation: current.generation + 1,
    targets: chosen.map(keyOf),
    failOpen: choice.failOpen,
    lastWithdrawal: choice.lastWithdrawal,
    warming: choice.warming,
  });
}

interface FamilyPlan {
  readonly family: Family;
  readonly staying: readonly Target[];
  readonly leaving: readonly Target[];
  /** Down or drained, and kept nevertheless. */
  readonly kept: readonly Deferred[];
  readonly failOpen: boolean;
}

function planFamily(family: Family, input: ChoiceInput): FamilyPlan {
  const { previous, manifest, wallMs } = input;
  const targets = targetsOf(manifest).filter((target) => target.family === family);
  const stateOf = (target: Target) => overrideOf(target.site, manifest, wallMs)?.state;
  const isIn = (target: Target): boolean => previous.targets.includes(keyOf(target));
  const judged = targets.filter((target) => stateOf(target) === undefined || stateOf(target) === 'serving');
  const { up = [], unknown = [], down = [] } = Object.groupBy(judged, (target) => healthOf(target, input));
  const plan = { family, leaving: [], kept: [], failOpen: false };

  // Slow ones that the others could not replace; they serve, so nobody is handed out beside them that does not. Not
  // while all are given out: sites that come back answer late at first, one before the other, and are up soon.
  const isStrained = (target: Target): boolean => input.strained.has(keyOf(target));
  const withRoom = up.filter((target) => !isStrained(target));
  const isOpen = up.length === 0 && previous.failOpen.includes(family);
  const isReplaceable = isOpen || canCarry(withRoom, targets, manifest);
  const needed = isReplaceable ? [] : down.filter(isIn).filter(isStrained);
  if (up.length + needed.length > 0) {
    return {
      ...plan,
      staying: [...up, ...unknown.filter(isIn), ...needed],
      leaving: down.filter((target) => isIn(target) && !needed.includes(target)),
      kept: needed.map((target) => ({ target: keyOf(target), reason: 'capacity' })),
    };
  }
  if (unknown.length > 0) {
    const before = judged.filter(isIn);
    const staying = before.length > 0 ? before : unknown;
    const kept = staying.filter((target) => down.includes(target));
    return {
      ...plan,
      staying,
      kept: kept.map((target) => ({ target: keyOf(target), reason: 'none_known_up' })),
      failOpen: previous.failOpen.includes(family),
    };
  }

  const draining = targets.filter((target) => stateOf(target) === 'draining');
  const spare = draining.filter((target) => healthOf(target, input) === 'up');
  if (spare.length > 0 && judged.length > 0) {
    return { ...plan, staying: spare, leaving: judged.filter(isIn) };
  }
  if (judged.length > 0) return { ...plan, staying: [...judged, ...draining], failOpen: true };
  // An operator has drained the family's only sites.
  const staying = draining.length > 0 ? draining : targets;
  const kept = staying.map((target) => ({ target: keyOf(target), reason: 'last_of_family' as const }));
  return { ...plan, staying, kept };
}

/** What counts of a target's health: nothing while nobody here may judge, and an operator's word before all. */
function healthOf(target: Target, input: ChoiceInput): Health {
  const { manifest, wallMs } = input;
  if (overrideOf(target.site, manifest, wallMs)?.state === 'serving') return 'up';
  if (input.isolated || isFrozen(manifest, wallMs)) return 'unknown';
  return input.healths.get(keyOf(target)) ?? 'unknown';
}

/** The one provider whose targets may leave now, if any: the last one again, or any once the window has passed. */
function providerThatMayLeave(leaving: readonly Target[], input: ChoiceInput): string | undefined {
  const { previous, manifest, nowMs } = input;
  const providers = leaving.map((target) => providerOf(target, manifest));
  const last = previous.lastWithdrawal;
  if (last !== undefined && nowMs - last.atMs < manifest.health.withdrawalWindowMs) {
    return providers.find((provider) => provider === last.provider);
  }
  return providers[0];
}

/** Who came back now or lately. What fail-open hands out has not come back. */
function warmingIn(
  targets: readonly TargetKey[],
  failOpen: readonly Family[],
  { previous, manifest, nowMs }: ChoiceInput,
): readonly Warming[] {
  const isOpen = (key: TargetKey): boolean => failOpen.some((family) => key.endsWith(family));
  return targets
    .filter((key) => !isOpen(key))
    .flatMap((target) => {
      if (!previous.targets.includes(target)) return [{ target, sinceMs: nowMs }];
      return previous.warming.filter(
        (one) => one.target === target && nowMs - one.sinceMs < manifest.health.warmUpMs,
      );
    });
}

function providerOf(target: Target, manifest: Manifest): string | undefined {
  return siteNamed(manifest, target.site)?.provider;
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item, index) => item === b[index]);
}
