/**
 * Everything a vantage tells: one function for each event, which writes the log line and the metric together, so
 * that the two never disagree and no event has two spellings. Labels are names of sites and reasons, never
 * addresses of those who ask.
 */
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import type { Metrics } from '../system/metrics.ts';
import { DNS_DISCARDS, type DnsDiscard } from './adapters/dns-server.ts';
import { VOTE_DOOR_REFUSALS, type VoteDoorRefusal } from './adapters/vote-receiver.ts';
import { POST_OUTCOMES, type PostOutcome } from './adapters/vote-sender.ts';
import type { Verdict } from './core/detector.ts';
import { APPLY_REFUSALS, type ApplyRefusal, DEFERRALS, type Deferred } from './core/failover.ts';
import { isLocalTrouble, PROBE_OUTCOMES, type ProbeOutcome } from './core/observation.ts';
import type { Health } from './core/quorum.ts';
import { keyOf, type Target } from './core/target.ts';
import { VOTE_REFUSALS, type VoteRefusal } from './core/vote.ts';
import { RCODES, type Rcode } from './dns/message.ts';

const ANSWER_REASONS = [
  'cold_start',
  'withdrawn',
  'returned',
  'withdrawn_and_returned',
  'fail_open',
  'fail_open_ended',
] as const;
export type AnswerReason = (typeof ANSWER_REASONS)[number];

const COLD_STARTS = ['persisted', 'votes', 'all_sites'] as const;
/** What the first answer after a start rests on. */
export type ColdStart = (typeof COLD_STARTS)[number];

interface AnswerReport {
  readonly generation: number;
  readonly sites: readonly string[];
  readonly ttlSeconds: number;
  readonly failOpen: boolean;
  readonly reason: AnswerReason;
}

export interface Events {
  observed(target: Target, outcome: ProbeOutcome): void;
  verdictChanged(target: Target, verdict: Verdict): void;
  healthChanged(site: string, health: Health): void;
  answerChanged(report: AnswerReport): void;
  answerRefused(reason: Exclude<ApplyRefusal, 'unchanged'>): void;
  ttlChanged(ttlSeconds: number): void;
  withdrawalDeferred(deferred: Deferred): void;
  isolatedChanged(isolated: boolean): void;
  coldStarted(source: ColdStart): void;
  voteTaken(): void;
  voteRefused(reason: VoteRefusal | VoteDoorRefusal, sender: string | undefined): void;
  votePosted(peer: string, outcome: PostOutcome): void;
  queryAnswered(rcode: Rcode): void;
  packetDiscarded(reason: DnsDiscard): void;
  /** A new zone is not served; the last one still is. */
  zoneRefused(why: string): void;
  stateFault(fault: 'unreadable' | 'unwritable'): void;
}

/** What the gauges show when they are scraped. */
interface Present {
  isolated: boolean;
  failOpen: boolean;
  generation: number;
  ttlSeconds: number;
  sites: number;
  /** When each target was last observed, monotonic milliseconds. */
  readonly observedMs: Map<string, number>;
}

/** Events whose counters are all at zero and exported from the start. */
export function createEvents(log: Log, metrics: Metrics, clock: Clock): Events {
  const counters = createCounters(metrics);
  const present = createGauges(metrics, clock);
  return {
    observed: (target, outcome) => {
      counters.observations.add(outcome);
      if (!isLocalTrouble(outcome)) present.observedMs.set(keyOf(target), clock.monotonicMs());
      log.debug('observation', { target: target.site, family: target.family, outcome });
    },
    verdictChanged: (target, verdict) =>
      log.info('verdict', { target: target.site, family: target.family, verdict }),
    healthChanged: (target, health) => log.info('health', { target, health }),
    answerChanged: ({ generation, sites, ttlSeconds, failOpen, reason }) => {
      Object.assign(present, { generation, ttlSeconds, failOpen, sites: sites.length });
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
      present.isolated = isolated;
      log[isolated ? 'warn' : 'info']('isolated', { isolated });
    },
    coldStarted: (source) => {
      counters.coldStarts.add(source);
      log[source === 'all_sites' ? 'warn' : 'info']('cold start', { source });
    },
    voteTaken: () => counters.votes.add('taken'),
    voteRefused: (reason, sender) => {
      counters.votesRefused.add(reason);
      log.warn('vote refused', { reason, sender });
    },
    votePosted: (peer, outcome) => {
      counters.posts.add(outcome);
      log.debug('vote posted', { peer, outcome });
    },
    queryAnswered: (rcode) => counters.queries.add(rcode),
    packetDiscarded: (reason) => counters.discards.add(reason),
    zoneRefused: (why) => {
      counters.zonesRefused.add('not_compiled');
      log.error('zone refused', { why });
    },
    stateFault: (fault) => {
      counters.stateFaults.add(fault);
      log.error('state file', { fault });
    },
  };
}

/** All gauges. A vantage that has just started has heard nobody, so it counts as isolated. */
function createGauges(metrics: Metrics, clock: Clock): Present {
  const present: Present = {
    isolated: true,
    failOpen: false,
    generation: 0,
    ttlSeconds: 0,
    sites: 0,
    observedMs: new Map(),
  };
  const flag = (name: string, help: string, read: () => boolean): void =>
    metrics.value(name, help, () => (read() ? 1 : 0));
  flag('isolated', '1 while no other provider is heard: the answer is frozen', () => present.isolated);
  flag('fail_open', '1 while every target of a family is down and all are served', () => present.failOpen);
  metrics.value('answer_generation', 'Generation of the answer in force', () => present.generation);
  metrics.value('answer_ttl_seconds', 'TTL of the answer in force', () => present.ttlSeconds);
  metrics.value('answer_sites', 'Sites in the answer in force', () => present.sites);
  metrics.gauge('observation_age_seconds', 'Age of the newest observation of each target', 'target', () => {
    const nowMs = clock.monotonicMs();
    return new Map([...present.observedMs].map(([key, atMs]) => [key, (nowMs - atMs) / 1000]));
  });
  return present;
}

/** All counters, with every reason at zero. */
function createCounters(metrics: Metrics) {
  const counter: Metrics['counter'] = (...order) => metrics.counter(...order);
  return {
    observations: counter('observations_total', 'Probes by what they saw', 'outcome', PROBE_OUTCOMES),
    answers: counter('answers_changed_total', 'Changes of the answer', 'reason', ANSWER_REASONS),
    answersRefused: counter(
      'answers_refused_total',
      'Proposed answers that were not applied',
      'reason',
      APPLY_REFUSALS.filter((reason) => reason !== 'unchanged'),
    ),
    deferred: counter('withdrawals_deferred_total', 'Withdrawals that had to wait', 'reason', DEFERRALS),
    coldStarts: counter('cold_starts_total', 'What the first answer rested on', 'source', COLD_STARTS),
    votes: counter('votes_total', 'Votes of other vantages', 'outcome', ['taken']),
    votesRefused: counter('votes_refused_total', 'Votes that were not taken', 'reason', [
      ...VOTE_REFUSALS,
      ...VOTE_DOOR_REFUSALS,
    ]),
    posts: counter('votes_posted_total', 'Votes posted to others', 'outcome', POST_OUTCOMES),
    queries: counter('queries_total', 'DNS queries answered', 'rcode', RCODES),
    discards: counter('dns_discards_total', 'DNS packets and connections dropped', 'reason', DNS_DISCARDS),
    zonesRefused: counter('zones_refused_total', 'New zones that are not served', 'reason', ['not_compiled']),
    stateFaults: counter('state_faults_total', 'Trouble with the state file', 'fault', [
      'unreadable',
      'unwritable',
    ]),
  };
}
