/**
 * How a vantage begins, in this order: with the answer that it served minutes ago, before it was restarted; with
 * what the other vantages say, if they say it within seconds; with all sites, loudly. Until then it answers SERVFAIL,
 * and resolvers ask another nameserver.
 */
import { type Manifest, vantagesOf } from '../fleet/manifest/manifest.ts';
import type { Clock } from '../system/clock.ts';
import type { SavedState } from './adapters/state-file.ts';
import { type Answer, answerWithAll } from './core/failover.ts';
import { keyOf, targetsOf, vantageNamed } from './core/target.ts';
import type { ColdStart } from './instruments.ts';
import type { Judgement } from './judgement.ts';

/** A saved answer older than this says too little about now. */
const PERSISTED_ANSWER_MS_MAX = 600_000;
/** So many changes may have been served whose state a crash kept from the disk. */
const GENERATIONS_LOST_MAX = 3;
const VOTES_WITHIN_MS_MAX = 3000;
const VOTES_POLL_MS = 25;

export interface Beginning {
  /** Above that of every former life of this vantage. */
  readonly bootEpoch: number;
  readonly answer: Answer;
  /** The answer was in force a short while ago. */
  readonly isRecent: boolean;
  /** What to have on disk before the first vote: the new boot epoch and generation, and everything else as it was. */
  readonly toSave: SavedState;
}

/** What to begin with, from the state that a former life saved, if any. */
export function beginningFrom(saved: SavedState | undefined, manifest: Manifest, clock: Clock): Beginning {
  const wallMs = clock.wallMs();
  if (saved === undefined) {
    const answer = answerWithAll(manifest, 1);
    const toSave = { ...savedFrom(answer, wallMs, clock), savedAtWallMs: 0 };
    return { bootEpoch: wallMs, answer, isRecent: false, toSave };
  }

  const bootEpoch = Math.max(wallMs, saved.bootEpoch + 1);
  const generation = saved.generation + GENERATIONS_LOST_MAX + 1;
  const published = targetsOf(manifest);
  const kept = published.filter((target) => saved.targets.includes(keyOf(target)));
  const isComplete = published.every((target) => kept.some((other) => other.family === target.family));
  const ageMs = wallMs - saved.savedAtWallMs;
  const isRecent = isComplete && ageMs >= 0 && ageMs < PERSISTED_ANSWER_MS_MAX;
  const last = saved.lastWithdrawal;
  const lastWithdrawal =
    last === null
      ? undefined
      : { provider: last.provider, atMs: clock.monotonicMs() - Math.max(0, wallMs - last.atWallMs) };
  const answer = isRecent
    ? { generation, targets: kept.map(keyOf), failOpen: saved.failOpen, lastWithdrawal, warming: [] }
    : { ...answerWithAll(manifest, generation), lastWithdrawal };
  return { bootEpoch, answer, isRecent, toSave: { ...saved, bootEpoch, generation } };
}

/** Begins to answer as soon as there is something to rest the answer on, or when waiting has taken long enough. */
export async function beginToAnswer(
  judgement: Pick<Judgement, 'begin' | 'providersHeard'>,
  beginning: Beginning,
  { manifest, self, clock, stopped }: BeginContext,
): Promise<void> {
  if (beginning.isRecent) {
    judgement.begin(beginning.answer, 'persisted');
    return;
  }
  const own = vantageNamed(manifest, self)?.provider;
  const providers = vantagesOf(manifest).map(({ provider }) => provider);
  const others = new Set(providers.filter((provider) => provider !== own));
  const untilMs = clock.monotonicMs() + Math.min(VOTES_WITHIN_MS_MAX, manifest.health.voteFreshMs);
  while (clock.monotonicMs() < untilMs && !others.isSubsetOf(judgement.providersHeard())) {
    await clock.sleep(VOTES_POLL_MS, stopped);
  }
  const source: ColdStart = judgement.providersHeard().size > 0 ? 'votes' : 'all_sites';
  judgement.begin(beginning.answer, source);
}

export interface BeginContext {
  readonly manifest: Manifest;
  readonly self: string;
  readonly clock: Clock;
  readonly stopped: AbortSignal;
}

/** What to save of the present for the next life. */
export function savedFrom(answer: Answer, bootEpoch: number, clock: Clock): SavedState {
  const wallMs = clock.wallMs();
  const last = answer.lastWithdrawal;
  return {
    bootEpoch,
    generation: answer.generation,
    targets: answer.targets,
    failOpen: answer.failOpen,
    lastWithdrawal:
      last === undefined
        ? null
        : { provider: last.provider, atWallMs: Math.round(wallMs - (clock.monotonicMs() - last.atMs)) },
    savedAtWallMs: wallMs,
  };
}
