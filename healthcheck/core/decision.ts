/**
 * One decision: everything that it rests on as one value, and what follows from that. The judgement decides with
 * it at every moment, and `explain` with what the decision log kept, so both give the same answer.
 */
import type { Manifest } from '../../fleet/manifest/manifest.ts';
import type { Result } from '../../system/result.ts';
import { strainedFrom } from './capacity.ts';
import { type Answer, type ApplyRefusal, applyChoice, type Choice, type Choose, choose } from './failover.ts';
import { type Health, healthsFrom } from './quorum.ts';
import type { TargetKey } from './target.ts';
import type { Stance, Vote } from './vote.ts';

export interface Circumstances {
  readonly manifest: Manifest;
  readonly previous: Answer;
  /** What the vantage that decides says itself. */
  readonly own: Stance;
  /** The fresh votes of others. */
  readonly votes: readonly Vote[];
  readonly isolated: boolean;
  /** Monotonic milliseconds. */
  readonly nowMs: number;
  /** Milliseconds since 1970. */
  readonly wallMs: number;
}

/** The three steps of a decision; drills and simulations prove themselves with wrong ones. */
export interface Rules {
  readonly healthsFrom: typeof healthsFrom;
  readonly choose: Choose;
  readonly applyChoice: typeof applyChoice;
}

export const RULES: Rules = { healthsFrom, choose, applyChoice };

export interface Decision {
  readonly healths: ReadonlyMap<TargetKey, Health>;
  readonly strained: ReadonlySet<TargetKey>;
  readonly choice: Choice;
  /** The next answer, if it is another one and may be given. */
  readonly next: Result<Answer, ApplyRefusal>;
}

/** Everybody who counts: the others' fresh votes and the own stance, which needs no date. */
export function allVotes({ own, votes }: Pick<Circumstances, 'own' | 'votes'>): readonly Vote[] {
  return [...votes, { ...own, bootEpoch: 0, sequence: 0 }];
}

/** Decides; `current` is what is served at the moment of applying, the circumstances' previous answer if it holds. */
export function decide(circumstances: Circumstances, rules: Rules, current: () => Answer): Decision {
  const { manifest, previous, isolated, nowMs, wallMs } = circumstances;
  const votes = allVotes(circumstances);
  const healths = rules.healthsFrom(votes, manifest);
  const strained = strainedFrom(votes, healths, manifest);
  const choice = rules.choose({ healths, strained, previous, nowMs, wallMs, isolated, manifest });
  return { healths, strained, choice, next: rules.applyChoice(current(), choice, manifest) };
}

export const ANSWER_REASONS = [
  'cold_start',
  'withdrawn',
  'returned',
  'withdrawn_and_returned',
  'fail_open',
  'fail_open_ended',
  'manifest',
] as const;
export type AnswerReason = (typeof ANSWER_REASONS)[number];

/** What a change of the answer is called. */
export function reasonFor(before: Answer, after: Answer): AnswerReason {
  if (after.failOpen.length > before.failOpen.length) return 'fail_open';
  if (after.failOpen.length < before.failOpen.length) return 'fail_open_ended';
  const withdrawn = before.targets.some((target) => !after.targets.includes(target));
  const returned = after.targets.some((target) => !before.targets.includes(target));
  if (withdrawn && returned) return 'withdrawn_and_returned';
  return withdrawn ? 'withdrawn' : 'returned';
}
