/**
 * The policy: from the healths of all targets and the previous answer to the next one.
 *
 * The worst DNS outages were withdrawals that nobody meant and answers that were empty. So this file refuses more
 * than it does: it never gives an empty answer, never leaves a family without a target that somebody knows to be
 * up, withdraws at most one provider within a window, and takes silence for silence. For each family:
 *
 *   targets of the family           next                     why
 *   one or more up                  previous + up − down     failover and return; see the window below
 *   none up, one or more unknown    previous                 silence is not evidence
 *   all down                        all of them, fail open   then checking has failed, not the world
 *   this vantage is isolated        previous                 the trouble is as likely here
 *
 * The window: a target leaves only if no target of another provider left within `withdrawalWindowMs`. A provider's
 * second target may follow its first at once.
 */
import type { Manifest } from '../../fleet/manifest.ts';
import { fail, ok, type Result } from '../../system/result.ts';
import type { Health } from './quorum.ts';
import { FAMILIES, type Family, keyOf, siteNamed, type Target, type TargetKey, targetsOf } from './target.ts';

interface Withdrawal {
  readonly provider: string;
  /** Monotonic milliseconds. */
  readonly atMs: number;
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
}

export const DEFERRALS = ['withdrawal_window', 'none_known_up'] as const;
type Deferral = (typeof DEFERRALS)[number];

/** A target that is down and stays in the answer for now. */
export interface Deferred {
  readonly target: TargetKey;
  readonly reason: Deferral;
}

export interface ChoiceInput {
  readonly healths: ReadonlyMap<TargetKey, Health>;
  readonly previous: Answer;
  /** Monotonic milliseconds. */
  readonly nowMs: number;
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
  return { generation, targets: targetsOf(manifest).map(keyOf), failOpen: [], lastWithdrawal: undefined };
}

/** The next answer by the table above. */
export function choose(input: ChoiceInput): Choice {
  const { previous, manifest } = input;
  const unchanged: Choice = {
    basedOn: previous.generation,
    targets: previous.targets,
    failOpen: previous.failOpen,
    lastWithdrawal: previous.lastWithdrawal,
    deferred: [],
  };
  if (input.isolated) return unchanged;

  const plans = FAMILIES.map((family) => planFamily(family, input));
  const leaving = plans.flatMap((plan) => plan.leaving);
  const provider = providerThatMayLeave(leaving, input);
  const gone = leaving.filter((target) => providerOf(target, manifest) === provider).map(keyOf);
  const wanted = new Set(plans.flatMap((plan) => plan.staying.map(keyOf)));
  const held = leaving.map(keyOf).filter((key) => !gone.includes(key));
  return {
    basedOn: previous.generation,
    targets: targetsOf(manifest)
      .map(keyOf)
      .filter((key) => wanted.has(key) || held.includes(key)),
    failOpen: plans.flatMap((plan) => (plan.failOpen ? [plan.family] : [])),
    lastWithdrawal: provider === undefined ? previous.lastWithdrawal : { provider, atMs: input.nowMs },
    deferred: [
      ...held.map((target) => ({ target, reason: 'withdrawal_window' as const })),
      ...plans.flatMap((plan) => plan.keptUnknown.map((target) => deferredUnknown(target))),
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
  });
}

interface FamilyPlan {
  readonly family: Family;
  readonly staying: readonly Target[];
  readonly leaving: readonly Target[];
  /** Down, and kept because nobody is known to be up. */
  readonly keptUnknown: readonly TargetKey[];
  readonly failOpen: boolean;
}

function planFamily(family: Family, { healths, previous, manifest }: ChoiceInput): FamilyPlan {
  const targets = targetsOf(manifest).filter((target) => target.family === family);
  const healthOf = (target: Target): Health => healths.get(keyOf(target)) ?? 'unknown';
  const isIn = (target: Target): boolean => previous.targets.includes(keyOf(target));
  const plan = { family, leaving: [], keptUnknown: [], failOpen: false };

  if (targets.some((target) => healthOf(target) === 'up')) {
    return {
      ...plan,
      staying: targets.filter(
        (target) => healthOf(target) === 'up' || (healthOf(target) === 'unknown' && isIn(target)),
      ),
      leaving: targets.filter((target) => healthOf(target) === 'down' && isIn(target)),
    };
  }
  if (targets.length > 0 && targets.every((target) => healthOf(target) === 'down')) {
    return { ...plan, staying: targets, failOpen: true };
  }
  const staying = targets.filter(isIn);
  return {
    ...plan,
    staying,
    keptUnknown: staying.filter((target) => healthOf(target) === 'down').map(keyOf),
    failOpen: previous.failOpen.includes(family),
  };
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

function providerOf(target: Target, manifest: Manifest): string | undefined {
  return siteNamed(manifest, target.site)?.provider;
}

function deferredUnknown(target: TargetKey): Deferred {
  return { target, reason: 'none_known_up' };
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item, index) => item === b[index]);
}
