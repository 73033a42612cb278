/**
 * The judgement of one vantage: observations and votes in, own vote and answer out. It holds the state that the pure
 * functions of `core/` transform, and tells every change; it does no I/O, so a simulator can drive it.
 *
 *   observation → detector → own vote ┐
 *                    others' votes ───┴→ quorum → choose → compare-and-set → zone
 */
import type { Manifest, SiteName } from '../fleet/manifest/manifest.ts';
import type { Clock } from '../system/clock.ts';
import { ok, type Result } from '../system/result.ts';
import { isStrained } from './core/capacity.ts';
import {
  type AnswerReason,
  allVotes,
  type Circumstances,
  type Decision,
  decide,
  type Rules,
  reasonFor,
} from './core/decision.ts';
import {
  type Detector,
  NEW_DETECTOR,
  observationsToChange,
  observe,
  type Verdict,
  verdictAt,
} from './core/detector.ts';
import { type Answer, answerUnder } from './core/failover.ts';
import { isFrozen } from './core/override.ts';
import { type Health, isIsolated } from './core/quorum.ts';
import { type WarmShares, warmShares } from './core/rotation.ts';
import { keyOf, siteNamed, type Target, type TargetKey, targetsOf, vantageNamed } from './core/target.ts';
import { ttlSeconds as ttlSecondsOf } from './core/ttl.ts';
import {
  admitVote,
  freshVotes,
  type ReceivedVote,
  type Stance,
  type Vote,
  type VoteBook,
  type VoteRefusal,
} from './core/vote.ts';
import type { Events } from './events.ts';
import type { ColdStart } from './instruments.ts';
import { createTelling, type Telling } from './telling.ts';

export interface JudgementOptions {
  readonly manifest: Manifest;
  readonly self: SiteName;
  /** `RULES` everywhere but in drills and simulations that prove themselves. */
  readonly rules: Rules;
  readonly clock: Clock;
  readonly events: Events;
  /** The answer, its TTL or the shares of warming sites changed: serve this from now on. */
  readonly serve: (served: Served) => void;
  /** The own vote says something new. */
  readonly stanceChanged: () => void;
  /** An answer was decided, or begun with. */
  readonly decided: (change: AnswerChange) => void;
}

export interface Served {
  readonly manifest: Manifest;
  readonly answer: Answer;
  readonly ttlSeconds: number;
  readonly shares: WarmShares;
}

/** A change of the answer, and everything that it rests on. */
interface AnswerChange {
  readonly reason: AnswerReason;
  readonly answer: Answer;
  readonly ttlSeconds: number;
  readonly circumstances: Circumstances;
  /** The votes of the circumstances as they arrived. */
  readonly signedVotes: readonly string[];
}

export interface Judgement {
  /** One probe's evidence about a target; local trouble is none and must not come here. */
  observe(target: Target, ready: boolean): void;
  /** The target serves, and is at its limit: it said so, or answered a probe too late. */
  seenStrained(target: Target): void;
  /** A verified vote of another vantage, and its text as it arrived. */
  receive(vote: Vote, signed: string): Result<void, VoteRefusal>;
  /** Whether a canary outside the fleet is reached. */
  reachesOutside(reached: boolean): void;
  /** Begins to answer; until then only the own vote is formed. */
  begin(answer: Answer, source: ColdStart): void;
  /** Goes on with a newer manifest, or with the same one under other overrides. */
  adopt(manifest: Manifest): void;
  /** Time has passed: votes and observations may have grown old. */
  evaluate(): void;
  stance(): Stance;
  /** Providers other than the own one whose fresh votes are here. */
  providersHeard(): ReadonlySet<string>;
  state(): JudgementState;
}

/** Everything a judgement knows, for those who show it. */
export interface JudgementState {
  readonly manifest: Manifest;
  readonly detectors: ReadonlyMap<TargetKey, Detector>;
  readonly book: VoteBook;
  /** Undefined until the vantage has begun to answer. */
  readonly answer: Answer | undefined;
  readonly ttlSeconds: number;
  readonly isolated: boolean;
  readonly outside: boolean;
  readonly healths: ReadonlyMap<TargetKey, Health>;
  /** Targets that serve, and are at their limit, by the same votes. */
  readonly strained: ReadonlySet<TargetKey>;
  /** By `target vantage`: what was said last, and how often it was something else than before. */
  readonly flips: ReadonlyMap<string, Flips>;
}

interface Flips {
  readonly verdict: Verdict;
  readonly count: number;
}

/** The same, as it changes. */
interface State extends JudgementState {
  manifest: Manifest;
  readonly detectors: Map<TargetKey, Detector>;
  book: VoteBook;
  answer: Answer | undefined;
  ttlSeconds: number;
  isolated: boolean;
  outside: boolean;
  healths: ReadonlyMap<TargetKey, Health>;
  strained: ReadonlySet<TargetKey>;
  /** When each target last showed this vantage that it is strained, monotonic milliseconds. */
  readonly strainSignsMs: Map<TargetKey, number>;
  readonly flips: Map<string, Flips>;
  /** What is served and voted, as text, so that each change is told once. */
  toldServed: string;
  toldStance: string;
}

/** A judgement that has seen nothing: every verdict is unknown until probes and votes come in. */
export function createJudgement(options: JudgementOptions): Judgement {
  const { clock } = options;
  const telling = createTelling(options.events);
  const state: State = {
    manifest: options.manifest,
    detectors: new Map(),
    book: new Map(),
    answer: undefined,
    ttlSeconds: options.manifest.health.ttlMinSeconds,
    isolated: true,
    outside: false,
    healths: new Map(),
    strained: new Set(),
    strainSignsMs: new Map(),
    flips: new Map(),
    toldServed: '',
    toldStance: '',
  };
  const again = (): void => evaluate(state, telling, options);
  return {
    observe: (target, ready) => {
      const observation = { ready, atMs: clock.monotonicMs() };
      const detector = state.detectors.get(keyOf(target)) ?? NEW_DETECTOR;
      state.detectors.set(keyOf(target), observe(detector, observation, state.manifest.health));
      again();
    },
    seenStrained: (target) => {
      state.strainSignsMs.set(keyOf(target), clock.monotonicMs());
      again();
    },
    receive: (vote, signed) => {
      const received = { vote, signed, arrivedMs: clock.monotonicMs() };
      const admitted = admitVote(state.book, received, state.manifest);
      if (!admitted.ok) return admitted;
      state.book = admitted.value;
      countFlips(state.flips, vote);
      again();
      return ok(undefined);
    },
    reachesOutside: (reached) => {
      if (state.outside === reached) return;
      state.outside = reached;
      again();
    },
    begin: (answer, source) => {
      options.events.coldStarted(source);
      takeEffect(state, answer, 'cold_start', circumstancesOf(state, answer, options), telling, options);
      again();
    },
    adopt: (manifest) => {
      adopt(state, manifest, telling, options);
      again();
    },
    evaluate: again,
    stance: () => stanceOf(state, options),
    providersHeard: () =>
      new Set(
        freshVotes(state.book, clock.monotonicMs(), state.manifest).flatMap(({ vote }) => {
          const provider = vantageNamed(state.manifest, vote.vantage)?.provider;
          return provider === undefined ? [] : [provider];
        }),
      ),
    state: () => state,
  };
}

/** Everything that follows from the observations and votes that are here at this moment. */
function evaluate(state: State, telling: Telling, options: JudgementOptions): void {
  const { clock, self, events } = options;
  const heard = freshVotes(state.book, clock.monotonicMs(), state.manifest).map(({ vote }) => vote);
  const isolated = isIsolated(self, heard, state.manifest, state.outside);
  if (isolated !== state.isolated) {
    state.isolated = isolated;
    events.isolatedChanged(isolated);
  }
  const previous = state.answer;
  const circumstances = circumstancesOf(state, previous, options);
  const decision = decide(circumstances, options.rules, () => state.answer ?? circumstances.previous);
  state.healths = decision.healths;
  state.strained = decision.strained;
  telling.verdicts(state.manifest, state.detectors, circumstances.nowMs);
  telling.healths(decision.healths, state.manifest);
  telling.frozen(isFrozen(state.manifest, circumstances.wallMs));
  if (previous !== undefined) obey(state, previous, circumstances, decision, telling, options);
  const text = JSON.stringify(circumstances.own);
  if (text !== state.toldStance) {
    countFlips(state.flips, circumstances.own);
    state.toldStance = text;
    options.stanceChanged();
  }
}

function countFlips(flips: Map<string, Flips>, stance: Stance): void {
  for (const { site, family, verdict } of stance.verdicts) {
    const key = `${site}/${family} ${stance.vantage}`;
    const before = flips.get(key);
    if (before?.verdict !== verdict) {
      flips.set(key, { verdict, count: before === undefined ? 0 : before.count + 1 });
    }
  }
}

/** From a decision to the answer in force. */
function obey(
  state: State,
  previous: Answer,
  circumstances: Circumstances,
  { choice, next }: Decision,
  telling: Telling,
  options: JudgementOptions,
): void {
  const { manifest, isolated, nowMs, wallMs } = circumstances;
  const answer = next.ok ? next.value : previous;
  const votes = allVotes(circumstances);
  const { deferred } = choice;
  state.ttlSeconds = ttlSecondsOf({ answer, votes, deferred, isolated, nowMs, wallMs, manifest });
  if (next.ok) {
    const reason = reasonFor(previous, answer);
    telling.failedOver(previous, answer, state.detectors, nowMs);
    takeEffect(state, answer, reason, circumstances, telling, options);
  } else {
    if (next.fault !== 'unchanged') options.events.answerRefused(next.fault);
    serve(state, answer, telling, options);
  }
  telling.deferrals(deferred);
}

/** Puts an answer in force: in memory, on the wire, in the log. */
function takeEffect(
  state: State,
  answer: Answer,
  reason: AnswerReason,
  circumstances: Circumstances,
  telling: Telling,
  options: JudgementOptions,
): void {
  state.answer = answer;
  serve(state, answer, telling, options);
  const { ttlSeconds } = state;
  telling.answer(answer, ttlSeconds, reason);
  const signedVotes = heardBy(state, circumstances).map(({ signed }) => signed);
  options.decided({ reason, answer, ttlSeconds, circumstances, signedVotes });
}

function serve(state: State, answer: Answer, telling: Telling, options: JudgementOptions): void {
  const { manifest, ttlSeconds } = state;
  const shares = warmShares(answer, manifest, options.clock.monotonicMs());
  const told = JSON.stringify([manifest.version, answer.generation, ttlSeconds, [...shares]]);
  if (told === state.toldServed) return;
  state.toldServed = told;
  telling.ttl(ttlSeconds);
  options.serve({ manifest, answer, ttlSeconds, shares });
}

/** Forgets what another manifest makes meaningless, and keeps everything else: verdicts, sequence numbers, answer. */
function adopt(state: State, manifest: Manifest, telling: Telling, options: JudgementOptions): void {
  const before = state.manifest;
  state.manifest = manifest;
  if (manifest.version === before.version) return;
  for (const { site, family } of targetsOf(before)) {
    const former = siteNamed(before, site)?.relay[family].join();
    if (former !== siteNamed(manifest, site)?.relay[family].join()) {
      state.detectors.delete(keyOf({ site, family }));
      state.strainSignsMs.delete(keyOf({ site, family }));
    }
  }
  options.events.manifestAdopted(manifest.version);
  const { answer } = state;
  if (answer === undefined) return;
  const circumstances = circumstancesOf(state, answer, options);
  takeEffect(state, answerUnder(manifest, answer), 'manifest', circumstances, telling, options);
}

/** What this vantage votes now: while it is isolated, that it does not know. */
function stanceOf(state: State, { self, clock }: JudgementOptions): Stance {
  const { manifest, isolated, outside } = state;
  const nowMs = clock.monotonicMs();
  const verdicts = targetsOf(manifest).map((target) => {
    const detector = state.detectors.get(keyOf(target)) ?? NEW_DETECTOR;
    return {
      ...target,
      verdict: isolated ? ('unknown' as const) : verdictAt(detector, nowMs, manifest.health),
      observationsToChange: observationsToChange(detector, nowMs, manifest.health),
      strained: !isolated && isStrained(state.strainSignsMs.get(keyOf(target)), nowMs, manifest.health),
    };
  });
  return { vantage: self, manifestVersion: manifest.version, isolated, outside, verdicts };
}

const NO_ANSWER: Answer = {
  generation: 0,
  targets: [],
  failOpen: [],
  lastWithdrawal: undefined,
  warming: [],
};

function circumstancesOf(
  state: State,
  previous: Answer | undefined,
  options: JudgementOptions,
): Circumstances {
  const { clock } = options;
  const nowMs = clock.monotonicMs();
  return {
    manifest: state.manifest,
    previous: previous ?? NO_ANSWER,
    own: stanceOf(state, options),
    votes: freshVotes(state.book, nowMs, state.manifest).map(({ vote }) => vote),
    isolated: state.isolated,
    nowMs,
    wallMs: clock.wallMs(),
  };
}

/** The votes of these circumstances, with what arrived. */
function heardBy({ book }: State, { votes }: Circumstances): readonly ReceivedVote[] {
  return [...book.values()].filter(({ vote }) => votes.includes(vote));
}

/** The sites that have at least one target in the answer. */
export function sitesIn(answer: Answer): readonly SiteName[] {
  return [...new Set(answer.targets.map((target) => target.slice(0, target.lastIndexOf('/'))))];
}
