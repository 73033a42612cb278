/**
 * Everything a vantage tells: one function for each event, which writes the log line and the metric together, so
 * that the two never disagree and no event has two spellings. Labels are names of sites and reasons, never
 * addresses of those who ask.
 */
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import type { Metrics } from '../system/metrics.ts';
import { DNS_DISCARDS, type DnsDiscard } from './adapters/dns-server.ts';
import { DOOR_REFUSALS, type DoorRefusal } from './adapters/fleet-port.ts';
import { NOTIFY_OUTCOMES, type NotifyOutcome } from './adapters/notify.ts';
import { POST_OUTCOMES, type PostOutcome } from './adapters/vote-sender.ts';
import { CHALLENGE_REFUSALS, type ChallengeRefusal } from './challenges.ts';
import { CANARY_OUTCOMES, type CanaryOutcome, type CanaryPair } from './core/canary.ts';
import { ANSWER_REASONS, type AnswerReason } from './core/decision.ts';
import type { Verdict } from './core/detector.ts';
import { APPLY_REFUSALS, type ApplyRefusal, DEFERRALS, type Deferred } from './core/failover.ts';
import { isLocalTrouble, PROBE_OUTCOMES, type ProbeOutcome } from './core/observation.ts';
import type { Health } from './core/quorum.ts';
import { keyOf, type Target } from './core/target.ts';
import { VOTE_REFUSALS, type VoteRefusal } from './core/vote.ts';
import { RCODES, type Rcode } from './dns/message.ts';
import {
  MANIFEST_REFUSALS,
  type ManifestRefusal,
  OVERRIDES_REFUSALS,
  type OverridesRefusal,
} from './documents.ts';
import {
  COLD_STARTS,
  type ColdStart,
  createGauges,
  type Present,
  type SignatureEnds,
  STATE_FAULTS,
  type StateFault,
  signaturesOf,
} from './instruments.ts';
import { SPREAD_OUTCOMES, type SpreadOutcome } from './spreading.ts';

/** Why a vantage answers nothing: it has no manifest yet, or one that does not have it. */
export type Waiting = 'no_manifest' | 'not_in_manifest';

interface AnswerReport {
  readonly generation: number;
  readonly sites: readonly string[];
  readonly ttlSeconds: number;
  readonly failOpen: boolean;
  readonly reason: AnswerReason;
}

export interface Events {
  /** These targets are probed from now on, and no others: the age of what is never seen grows from here. */
  probingBegan(targets: readonly Target[]): void;
  observed(target: Target, outcome: ProbeOutcome): void;
  /** A message between two sites; `seconds` from its encryption to its ack. */
  canaryEnded(pair: CanaryPair, outcome: CanaryOutcome, seconds: number): void;
  /** Messages do not get through a target that says it is ready, or do again. */
  canaryVerdict(target: Target, fails: boolean): void;
  verdictChanged(target: Target, verdict: Verdict): void;
  healthChanged(site: string, health: Health): void;
  answerChanged(report: AnswerReport): void;
  answerRefused(reason: Exclude<ApplyRefusal, 'unchanged'>): void;
  ttlChanged(ttlSeconds: number): void;
  withdrawalDeferred(deferred: Deferred): void;
  isolatedChanged(isolated: boolean): void;
  frozenChanged(frozen: boolean): void;
  /** From the first failure that this vantage saw to the answer without the target. */
  failedOver(seconds: number): void;
  manifestAdopted(version: number): void;
  manifestRefused(reason: ManifestRefusal, detail: string): void;
  /** Overrides by a key that is listed under this name hold from now on; undefined: none hold any more. */
  overridesAdopted(by: string | undefined): void;
  overridesRefused(reason: OverridesRefusal, detail: string): void;
  documentSpread(to: string, outcome: SpreadOutcome): void;
  /** There is nothing to answer, and why; told again and again. */
  waiting(reason: Waiting | undefined): void;
  coldStarted(source: ColdStart): void;
  voteTaken(): void;
  voteRefused(reason: VoteRefusal, sender: string): void;
  doorRefused(reason: DoorRefusal): void;
  votePosted(peer: string, outcome: PostOutcome): void;
  queryAnswered(rcode: Rcode, count: number): void;
  packetDiscarded(reason: DnsDiscard, count: number): void;
  /** So many threads answer over UDP; 0: the main thread does. */
  dnsThreads(threads: number): void;
  /** A thread of the nameserver ended that nobody ended; another one takes its place. */
  dnsThreadEnded(why: string): void;
  /** A new zone is not served; the last one still is. */
  zoneRefused(why: string): void;
  challengesReceived(from: string, outcome: ChallengeRefusal | 'taken'): void;
  secondaryNotified(outcome: NotifyOutcome): void;
  /** The zone is signed; `ds` is what the registrar has to have. */
  zoneSigned(ds: readonly string[]): void;
  /** When signatures end, seconds since 1970: over the key set, by the operators, and over records, by this site. */
  signaturesLeft(ends: SignatureEnds): void;
  stateFault(fault: StateFault): void;
}

/** What comes from other machines: votes, manifests and overrides. */
function exchangeEvents(
  log: Log,
  counters: ReturnType<typeof createCounters>,
  present: Present,
): Pick<
  Events,
  | 'voteTaken'
  | 'voteRefused'
  | 'doorRefused'
  | 'votePosted'
  | 'manifestAdopted'
  | 'manifestRefused'
  | 'overridesAdopted'
  | 'overridesRefused'
  | 'documentSpread'
  | 'waiting'
> {
  return {
    voteTaken: () => counters.votes.add('taken'),
    voteRefused: (reason, sender) => {
      counters.votesRefused.add(reason);
      log.warn('vote refused', { reason, sender });
    },
    doorRefused: (reason) => {
      counters.doorRefused.add(reason);
      // Anybody can cause it, as often as they like.
      log.debug('request refused', { reason });
    },
    votePosted: (peer, outcome) => {
      counters.posts.add(outcome);
      log.debug('vote posted', { peer, outcome });
    },
    manifestAdopted: (version) => {
      present.manifestVersion = version;
      log.info('manifest', { version });
    },
    manifestRefused: (reason, detail) => {
      counters.manifestsRefused.add(reason);
      log.error('manifest refused', { reason, detail });
    },
    overridesAdopted: (by) => log.warn('overrides', { by: by ?? 'nobody' }),
    overridesRefused: (reason, detail) => {
      counters.overridesRefused.add(reason);
      log.error('overrides refused', { reason, detail });
    },
    documentSpread: (to, outcome) => {
      counters.spread.add(outcome);
      log.debug('document spread', { to, outcome });
    },
    waiting: (reason) => {
      present.waiting = reason !== undefined;
      if (reason !== undefined) log.warn('waiting', { reason });
    },
  };
}

/** What this vantage sees itself, by probes and by messages. */
function lookingEvents(
  log: Log,
  counters: ReturnType<typeof createCounters>,
  present: Present,
  clock: Clock,
): Pick<Events, 'probingBegan' | 'observed' | 'canaryEnded' | 'canaryVerdict' | 'verdictChanged'> {
  return {
    probingBegan: (targets) => {
      const keys = targets.map(keyOf);
      const nowMs = clock.monotonicMs();
      for (const key of present.observedMs.keys())
        if (!keys.some((one) => one === key)) present.observedMs.delete(key);
      for (const key of keys) present.observedMs.set(key, present.observedMs.get(key) ?? nowMs);
      for (const key of present.canaryFails.keys()) present.canaryFails.set(key, false);
    },
    observed: (target, outcome) => {
      counters.observations.add(outcome);
      if (!isLocalTrouble(outcome)) present.observedMs.set(keyOf(target), clock.monotonicMs());
      log.debug('observation', { target: target.site, family: target.family, outcome });
    },
    canaryEnded: ({ store, fetch }, outcome, seconds) => {
      counters.canaries.add(outcome);
      if (outcome === 'delivered') counters.canarySeconds.observe(seconds);
      log.debug('canary', { store: keyOf(store), fetch: keyOf(fetch), outcome });
    },
    canaryVerdict: (target, fails) => {
      present.canaryFails.set(keyOf(target), fails);
      log[fails ? 'warn' : 'info']('canary verdict', { target: target.site, family: target.family, fails });
    },
    verdictChanged: (target, verdict) =>
      log.info('verdict', { target: target.site, family: target.family, verdict }),
  };
}

/** What becomes of the zone that this nameserver serves. */
function zoneEvents(
  log: Log,
  counters: ReturnType<typeof createCounters>,
  present: Present,
  clock: Clock,
): Pick<
  Events,
  | 'zoneRefused'
  | 'challengesReceived'
  | 'secondaryNotified'
  | 'zoneSigned'
  | 'signaturesLeft'
  | 'queryAnswered'
  | 'packetDiscarded'
  | 'dnsThreads'
  | 'dnsThreadEnded'
> {
  return {
    queryAnswered: (rcode, count) => counters.queries.add(rcode, count),
    packetDiscarded: (reason, count) => counters.discards.add(reason, count),
    dnsThreads: (threads) => {
      present.dnsThreads = threads;
      log.info('dns threads', { threads });
    },
    dnsThreadEnded: (why) => {
      counters.dnsThreadsEnded.add('replaced');
      log.error('dns thread ended', { why });
    },
    challengesReceived: (from, outcome) => {
      counters.challenges.add(outcome);
      log[outcome === 'taken' ? 'info' : 'warn']('acme challenges', { from, outcome });
    },
    secondaryNotified: (outcome) => {
      counters.notifies.add(outcome);
      if (outcome !== 'confirmed') log.warn('secondary not notified', { outcome });
    },
    zoneRefused: (why) => {
      counters.zonesRefused.add('not_compiled');
      log.error('zone refused', { why });
    },
    zoneSigned: (ds) => {
      for (const record of ds) log.info('zone signed', { ds: record });
    },
    signaturesLeft: (ends) => {
      present.signatures = ends;
      const nowSeconds = clock.wallMs() / 1000;
      for (const [of, endSeconds] of signaturesOf(ends)) {
        const daysLeft = Math.floor((endSeconds - nowSeconds) / DAY_SECONDS);
        if (daysLeft < SIGNATURE_DAYS_MIN[of]) log.error('signatures end soon', { of, daysLeft });
      }
    },
  };
}

const DAY_SECONDS = 86_400;
/** Fewer days than this are an error: operators need time to find their key; this nameserver signs eleven days before. */
const SIGNATURE_DAYS_MIN = { zone_keys: 14, records: 7 } as const;

/** Events whose counters are all at zero and exported from the start. */
export function createEvents(log: Log, metrics: Metrics, clock: Clock): Events {
  const counters = createCounters(metrics);
  const present = createGauges(metrics, clock);
  return {
    ...exchangeEvents(log, counters, present),
    ...zoneEvents(log, counters, present, clock),
    ...lookingEvents(log, counters, present, clock),
    healthChanged: (target, health) => log.info('health', { target, health }),
    answerChanged: ({ generation, sites, ttlSeconds, failOpen, reason }) => {
      Object.assign(present, { generation, ttlSeconds, sites: sites.length });
      present.failOpen.set(failOpen);
      counters.answers.add(reason);
      const level = failOpen ? 'error' : 'info';
      log[level]('answer', { generation, sites: sites.join(','), ttlSeconds, failOpen, reason });
    },
    answerRefused: (reason) => {
      counters.answersRefused.add(reason);
      log.error('answer refused', { reason });
    },
    ttlChanged: (ttlSeconds) => {
      present.ttlSeconds = ttlSeconds;
      log.debug('ttl', { ttlSeconds });
    },
    withdrawalDeferred: ({ target, reason }) => {
      counters.deferred.add(reason);
      log.warn('withdrawal deferred', { target, reason });
    },
    isolatedChanged: (isolated) => {
      present.isolated.set(isolated);
      log[isolated ? 'warn' : 'info']('isolated', { isolated });
    },
    frozenChanged: (frozen) => {
      present.frozen.set(frozen);
      log[frozen ? 'warn' : 'info']('frozen', { frozen });
    },
    failedOver: (seconds) => {
      counters.failovers.observe(seconds);
      log.info('failed over', { seconds: Math.round(seconds * 1000) / 1000 });
    },
    coldStarted: (source) => {
      counters.coldStarts.add(source);
      log[source === 'all_sites' ? 'warn' : 'info']('cold start', { source });
    },
    stateFault: (fault) => {
      counters.stateFaults.add(fault);
      log.error('state file', { fault });
    },
  };
}

/** All counters, with every reason at zero. */
function createCounters(metrics: Metrics) {
  const counter: Metrics['counter'] = (...order) => metrics.counter(...order);
  return {
    observations: counter('observations_total', 'Probes by what they saw', 'outcome', PROBE_OUTCOMES),
    canaries: counter(
      'canaries_total',
      'Messages sent through pairs of sites by what became of them',
      'outcome',
      CANARY_OUTCOMES,
    ),
    canarySeconds: metrics.histogram(
      'canary_seconds',
      'From the encryption of a canary to its ack at another site',
      [0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8],
    ),
    answers: counter('answers_changed_total', 'Changes of the answer', 'reason', ANSWER_REASONS),
    answersRefused: counter(
      'answers_refused_total',
      'Proposed answers that were not applied',
      'reason',
      APPLY_REFUSALS.filter((reason) => reason !== 'unchanged'),
    ),
    failovers: metrics.histogram(
      'failover_seconds',
      'From the first failure seen to the answer without the target',
      [2, 4, 5, 6, 7, 8, 10, 15, 30, 60, 120],
    ),
    manifestsRefused: counter(
      'manifests_refused_total',
      'Manifests that were handed over and not applied',
      'reason',
      MANIFEST_REFUSALS,
    ),
    overridesRefused: counter(
      'overrides_refused_total',
      'Overrides that were handed over and not applied',
      'reason',
      OVERRIDES_REFUSALS,
    ),
    spread: counter('documents_spread_total', 'Documents posted to others', 'outcome', SPREAD_OUTCOMES),
    doorRefused: counter(
      'requests_refused_total',
      'Requests and connections refused at the port of the fleet',
      'reason',
      DOOR_REFUSALS,
    ),
    deferred: counter('withdrawals_deferred_total', 'Withdrawals that had to wait', 'reason', DEFERRALS),
    coldStarts: counter('cold_starts_total', 'What the first answer rested on', 'source', COLD_STARTS),
    votes: counter('votes_total', 'Votes of other vantages', 'outcome', ['taken']),
    votesRefused: counter('votes_refused_total', 'Votes that were not taken', 'reason', VOTE_REFUSALS),
    posts: counter('votes_posted_total', 'Votes posted to others', 'outcome', POST_OUTCOMES),
    queries: counter('queries_total', 'DNS queries answered', 'rcode', RCODES),
    discards: counter('dns_discards_total', 'DNS packets and connections dropped', 'reason', DNS_DISCARDS),
    dnsThreadsEnded: counter('dns_threads_ended_total', 'Threads that ended by themselves', 'outcome', [
      'replaced',
    ]),
    challenges: counter('acme_challenges_total', 'Publications of ACME challenges', 'outcome', [
      'taken',
      ...CHALLENGE_REFUSALS,
    ]),
    notifies: counter('notifies_total', 'NOTIFYs to secondaries', 'outcome', NOTIFY_OUTCOMES),
    zonesRefused: counter('zones_refused_total', 'New zones that are not served', 'reason', ['not_compiled']),
    stateFaults: counter('state_faults_total', 'Trouble with the state file', 'fault', STATE_FAULTS),
  };
}
