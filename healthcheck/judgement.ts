/**
 * The judgement of one vantage: observations and votes in, own vote and answer out. It holds the state that the pure
 * functions of `core/` transform, and tells every change; it does no I/O, so a simulator can drive it.
 *
 *   observation → detector → own vote ┐
 *                    others' votes ───┴→ quorum → choose → compare-and-set → zone
 */
import type { Manifest, SiteName } from '../fleet/manifest.ts';
import type { Clock } from '../system/clock.ts';
import { ok, type Result } from '../system/result.ts';
import {
  type Detector,
  NEW_DETECTOR,
  observationsToChange,
  observe,
  type Verdict,
  verdictAt,
} from './core/detector.ts';
import { type Answer, applyChoice, type Choose } from './core/failover.ts';
import {
  ballotsOn,
  type Health,
  healthFrom,
  isIsolated,
  providersNeeded,
  siteHealth,
} from './core/quorum.ts';
import { keyOf, type Target, type TargetKey, targetsOf } from './core/target.ts';
import { ttlSeconds as ttlSecondsOf } from './core/ttl.ts';
import { admitVote, freshVotes, type Vote, type VoteBook, type VoteRefusal } from './core/vote.ts';
import type { AnswerReason, ColdStart, Events } from './events.ts';

/** A vote before it is dated and signed. */
type Stance = Omit<Vote, 'bootEpoch' | 'sequence'>;

export interface JudgementOptions {
  readonly manifest: Manifest;
  readonly self: SiteName;
  readonly choose: Choose;
  readonly clock: Clock;
  readonly events: Events;
  /** The answer or its TTL changed: serve this from now on. */
  readonly serve: (answer: Answer, ttlSeconds: number) => void;
  /** The own vote says something new. */
  readonly stanceChanged: () => void;
}

interface SiteView {
  readonly name: SiteName;
  readonly health: Health;
  readonly votes: readonly { readonly vantage: SiteName; readonly verdict: Health; readonly ageMs: number }[];
}

interface JudgementView {
  /** Undefined until the vantage has begun to answer. */
  readonly answer: Answer | undefined;
  readonly ttlSeconds: number;
  readonly isolated: boolean;
  readonly sites: readonly SiteView[];
}

export interface Judgement {
  /** One probe's evidence about a target; local trouble is none and must not come here. */
  observe(target: Target, ready: boolean): void;
  /** A verified vote of another vantage. */
  receive(vote: Vote): Result<void, VoteRefusal>;
  /** Begins to answer; until then only the own vote is formed. */
  begin(answer: Answer, source: ColdStart): void;
  /** Time has passed: votes and observations may have grown old. */
  evaluate(): void;
  stance(): Stance;
  /** Providers other than the own one whose fresh votes are here. */
  providersHeard(): ReadonlySet<string>;
  view(): JudgementView;
}

interface State {
  readonly detectors: Map<TargetKey, Detector>;
  book: VoteBook;
  answer: Answer | undefined;
  ttlSeconds: number;
  isolated: boolean;
  healths: ReadonlyMap<TargetKey, Health>;
  /** What was told last, so that each change is told once. */
  readonly toldVerdicts: Map<TargetKey, Verdict>;
  readonly toldHealths: Map<SiteName, Health>;
  toldDeferred: ReadonlySet<TargetKey>;
  toldStance: string;
}

/** No canary outside the fleet is probed yet; hearing another provider is the only sign of not being cut off. */
const CANARY_REACHED = false;

/** A judgement that has seen nothing: every verdict is unknown until probes and votes come in. */
export function createJudgement(options: JudgementOptions): Judgement {
  const { manifest, clock, events } = options;
  const state: State = {
    detectors: new Map(),
    book: new Map(),
    answer: undefined,
    ttlSeconds: manifest.health.ttlMinSeconds,
    isolated: true,
    healths: new Map(),
    toldVerdicts: new Map(),
    toldHealths: new Map(),
    toldDeferred: new Set(),
    toldStance: '',
  };
  return {
    observe: (target, ready) => {
      const observation = { ready, atMs: clock.monotonicMs() };
      const detector = state.detectors.get(keyOf(target)) ?? NEW_DETECTOR;
      state.detectors.set(keyOf(target), observe(detector, observation, manifest.health));
      evaluate(state, options);
    },
    receive: (vote) => {
      const admitted = admitVote(state.book, { vote, arrivedMs: clock.monotonicMs() }, manifest);
      if (!admitted.ok) return admitted;
      state.book = admitted.value;
      evaluate(state, options);
      return ok(undefined);
    },
    begin: (answer, source) => {
      state.answer = answer;
      events.coldStarted(source);
      options.serve(answer, state.ttlSeconds);
      tellAnswer(answer, state.ttlSeconds, 'cold_start', events);
      evaluate(state, options);
    },
    evaluate: () => evaluate(state, options),
    stance: () => stanceOf(state, clock.monotonicMs(), options),
    providersHeard: () =>
      providersOf(freshVotes(state.book, clock.monotonicMs(), manifest.health.voteFreshMs), manifest),
    view: () => {
      const nowMs = clock.monotonicMs();
      return viewOf(state, stanceOf(state, nowMs, options), nowMs, manifest);
    },
  };
}

/** Everything that follows from the observations and votes that are here at this moment. */
function evaluate(state: State, options: JudgementOptions): void {
  const { manifest, events } = options;
  const nowMs = options.clock.monotonicMs();
  const heard = freshVotes(state.book, nowMs, manifest.health.voteFreshMs);
  const isolated = isIsolated(options.self, heard, manifest, CANARY_REACHED);
  if (isolated !== state.isolated) {
    state.isolated = isolated;
    events.isolatedChanged(isolated);
  }
  const own = stanceOf(state, nowMs, options);
  const votes: readonly Vote[] = [...heard, { ...own, bootEpoch: 0, sequence: 0 }];
  const targets = targetsOf(manifest);
  state.healths = new Map(
    targets.map((target) => [
      keyOf(target),
      healthFrom(ballotsOn(target, votes, manifest), providersNeeded(target, manifest)),
    ]),
  );
  tellVerdicts(state, nowMs, options);
  tellHealths(state, manifest, events);
  decide(state, votes, nowMs, options);
  const text = JSON.stringify(own);
  if (text !== state.toldStance) {
    state.toldStance = text;
    options.stanceChanged();
  }
}

/** What this vantage votes now: while it is isolated, that it does not know. */
function stanceOf(state: State, nowMs: number, { manifest, self }: JudgementOptions): Stance {
  const verdicts = targetsOf(manifest).map((target) => {
    const detector = state.detectors.get(keyOf(target)) ?? NEW_DETECTOR;
    return {
      ...target,
      verdict: state.isolated ? ('unknown' as const) : verdictAt(detector, nowMs, manifest.health),
      observationsToChange: observationsToChange(detector, nowMs, manifest.health),
    };
  });
  return { vantage: self, manifestVersion: manifest.version, isolated: state.isolated, verdicts };
}

/** From healths to the answer in force. */
function decide(state: State, votes: readonly Vote[], nowMs: number, options: JudgementOptions): void {
  const { manifest, events } = options;
  const previous = state.answer;
  if (previous === undefined) return;
  const { isolated, healths } = state;
  const choice = options.choose({ healths, previous, nowMs, isolated, manifest });
  const applied = applyChoice(state.answer ?? previous, choice, manifest);
  if (applied.ok) state.answer = applied.value;
  else if (applied.fault !== 'unchanged') events.answerRefused(applied.fault);

  const answer = state.answer ?? previous;
  const ttl = ttlSecondsOf({ answer, votes, deferred: choice.deferred, isolated, nowMs, manifest });
  const ttlChanged = ttl !== state.ttlSeconds;
  state.ttlSeconds = ttl;
  if (applied.ok || ttlChanged) options.serve(answer, ttl);
  if (applied.ok) tellAnswer(answer, ttl, reasonFor(previous, answer), events);
  else if (ttlChanged) events.ttlChanged(ttl);

  for (const deferred of choice.deferred) {
    if (!state.toldDeferred.has(deferred.target)) events.withdrawalDeferred(deferred);
  }
  state.toldDeferred = new Set(choice.deferred.map(({ target }) => target));
}

function reasonFor(before: Answer, after: Answer): AnswerReason {
  if (after.failOpen.length > before.failOpen.length) return 'fail_open';
  if (after.failOpen.length < before.failOpen.length) return 'fail_open_ended';
  const withdrawn = before.targets.some((target) => !after.targets.includes(target));
  const returned = after.targets.some((target) => !before.targets.includes(target));
  if (withdrawn && returned) return 'withdrawn_and_returned';
  return withdrawn ? 'withdrawn' : 'returned';
}

/** The sites that have at least one target in the answer. */
export function sitesIn(answer: Answer): readonly SiteName[] {
  return [...new Set(answer.targets.map((target) => target.slice(0, target.lastIndexOf('/'))))];
}

function tellAnswer(answer: Answer, ttlSeconds: number, reason: AnswerReason, events: Events): void {
  const { generation } = answer;
  const failOpen = answer.failOpen.length > 0;
  events.answerChanged({ generation, sites: sitesIn(answer), ttlSeconds, failOpen, reason });
}

function tellVerdicts(state: State, nowMs: number, { manifest, events }: JudgementOptions): void {
  for (const target of targetsOf(manifest)) {
    const verdict = verdictAt(state.detectors.get(keyOf(target)) ?? NEW_DETECTOR, nowMs, manifest.health);
    if ((state.toldVerdicts.get(keyOf(target)) ?? 'unknown') === verdict) continue;
    state.toldVerdicts.set(keyOf(target), verdict);
    events.verdictChanged(target, verdict);
  }
}

function tellHealths(state: State, manifest: Manifest, events: Events): void {
  for (const site of manifest.sites) {
    const health = healthOfSite(site.name, state.healths);
    if ((state.toldHealths.get(site.name) ?? 'unknown') === health) continue;
    state.toldHealths.set(site.name, health);
    events.healthChanged(site.name, health);
  }
}

function healthOfSite(site: SiteName, healths: ReadonlyMap<TargetKey, Health>): Health {
  return siteHealth([...healths].filter(([key]) => key.startsWith(`${site}/`)).map(([, health]) => health));
}

function providersOf(votes: readonly Vote[], manifest: Manifest): ReadonlySet<string> {
  return new Set(
    manifest.sites
      .filter((site) => votes.some((vote) => vote.vantage === site.name))
      .map((site) => site.provider),
  );
}

function viewOf(state: State, own: Stance, nowMs: number, manifest: Manifest): JudgementView {
  const counted = [
    ...[...state.book.values()]
      .map(({ vote, arrivedMs }) => ({ stance: vote, ageMs: nowMs - arrivedMs }))
      .filter(({ ageMs }) => ageMs < manifest.health.voteFreshMs),
    { stance: own, ageMs: 0 },
  ];
  return {
    answer: state.answer,
    ttlSeconds: state.ttlSeconds,
    isolated: state.isolated,
    sites: manifest.sites.map((site) => ({
      name: site.name,
      health: healthOfSite(site.name, state.healths),
      votes: counted.map(({ stance, ageMs }) => ({
        vantage: stance.vantage,
        verdict: siteHealth(
          stance.verdicts.filter((verdict) => verdict.site === site.name).map(({ verdict }) => verdict),
        ),
        ageMs: Math.round(ageMs),
      })),
    })),
  };
}
