/**
 * From the evidence of a run to its figures, each beside its bound, and to the result. Pure: the same evidence gives
 * the same report.
 *
 * A result is one of three, as in Jepsen: met, missed, or unknown. Unknown is for a run that proves nothing: its
 * checker is blind, its fault was not effective, or too little happened during it.
 */
import { check, type Findings } from './checker.ts';
import type { LedgerEntry } from './ledger.ts';
import type { AnswerChange } from './nameserver-watch.ts';
import {
  type Operation,
  type Outage,
  operationsIn,
  operationsOf,
  percentile,
  receiveOutages,
  sendLatencyMs,
  sendOutages,
  type Window,
} from './outages.ts';
import { type Plant, selfTest } from './self-test.ts';
import type { VantageEvent } from './vantage-events.ts';

export type Fault = 'kill' | 'none';

export interface Evidence {
  readonly fault: Fault;
  /** The site that was taken away. */
  readonly site: string;
  readonly sites: readonly string[];
  readonly runId: string;
  readonly payloadBytes: number;
  readonly window: Window;
  /** When the fault was proved effective; undefined when it was not, or there was none to prove. */
  readonly provedMs: number | undefined;
  readonly vantageEvents: readonly VantageEvent[];
  readonly answers: readonly AnswerChange[];
  readonly ledgers: Readonly<Record<'dns' | 'failover' | 'late', readonly LedgerEntry[]>>;
  readonly recovery: Recovery;
  /** Every late reader reached the end of its mailbox. */
  readonly lateReadersFinished: boolean;
}

/** Monotonic milliseconds; undefined: it did not happen while the drill watched. */
export interface Recovery {
  /** The survivors owe each other nothing that was accepted before the fault. */
  readonly twoCopiesMs: number | undefined;
  readonly siteReadyMs: number | undefined;
  readonly inEveryAnswerMs: number | undefined;
  /** Every site has every message that was accepted before the site was back. */
  readonly threeCopiesMs: number | undefined;
}

export type Unit = 's' | 'messages' | 'clients' | 'changes' | 'sends' | 'plants';

export interface Figure {
  readonly group: Group;
  readonly name: string;
  /** Undefined: it did not happen, or there was nothing to measure. Times in seconds. */
  readonly value: number | undefined;
  readonly unit: Unit;
  /** The largest value that is good. With neither bound the figure is told, and judged by nobody. */
  readonly max: number | undefined;
  /** The smallest value that is good. */
  readonly min: number | undefined;
  readonly passed: boolean;
}

export const GROUPS = ['messages', 'detection', 'clients', 'errors', 'recovery', 'proof'] as const;
export type Group = (typeof GROUPS)[number];

export type Result = 'met' | 'missed' | 'unknown';

export interface Assessment {
  readonly result: Result;
  /** Why the result is not "met", each a sentence. */
  readonly reasons: readonly string[];
  readonly figures: readonly Figure[];
  readonly findings: Findings;
  readonly errorsByClass: Readonly<Record<string, number>>;
  readonly blindFor: readonly Plant[];
}

/** Fewer accepted messages than this during the fault prove nothing about it. */
export const ACCEPTED_DURING_FAULT_MIN = 100;

/** The bounds of the default profile, in seconds, and the share of sends that may fail. Reasons: docs/drills.md. */
const BOUNDS = {
  firstDownS: 7,
  quorumS: 8,
  answerS: 8,
  dnsOnly: { p50: 13, p99: 15, last: 15 },
  failoverSend: { p50: 0.3, p99: 1, last: 3 },
  failoverReceive: { p50: 1, p99: 1, last: 1 },
  failedShare: 0.01,
  twoCopiesS: 5,
  siteReadyS: 20,
  threeCopiesS: 30,
  inEveryAnswerS: 45,
} as const;

/** Seconds. */
interface OutageBounds {
  readonly p50: number;
  readonly p99: number;
  readonly last: number;
}

/** Judges one run by the bounds of docs/drills.md. */
export function assess(evidence: Evidence): Assessment {
  const { ledgers, window } = evidence;
  const entries = [...ledgers.dns, ...ledgers.failover, ...ledgers.late];
  const options = { runId: evidence.runId, payloadBytes: evidence.payloadBytes };
  const findings = check(entries, options);
  const blindFor = selfTest(entries, options);
  const during = {
    dns: operationsIn(operationsOf(ledgers.dns), window),
    failover: operationsIn(operationsOf(ledgers.failover), window),
  };
  const all = [...during.dns, ...during.failover];
  const acceptedDuring = all.filter(({ outcome }) => outcome?.kind === 'accepted').length;
  const dnsOutages = [...sendOutages(during.dns), ...receiveOutages(ledgers.dns, window)];
  const figures: readonly Figure[] = [
    ...messageFigures(findings),
    ...detectionFigures(evidence),
    ...clientFigures(evidence, during),
    ...errorFigures(evidence, during),
    ...recoveryFigures(evidence),
    atMost('proof', 'plants that the checker missed', blindFor.length, 'plants', 0),
    atLeast('proof', 'accepted during the fault', acceptedDuring, 'messages', ACCEPTED_DURING_FAULT_MIN),
    ...(evidence.fault === 'none'
      ? []
      : [atLeast('proof', 'DNS-only clients that noticed the fault', dnsOutages.length, 'clients', 1)]),
  ];
  const doubts = doubtsAbout(evidence, findings, acceptedDuring, dnsOutages.length);
  const blind = blindFor.map((plant) => `The checker did not find a planted fault: ${plant}.`);
  const misses = figures
    .filter(({ passed, group }) => !passed && group !== 'proof')
    .map((figure) => `${figure.group}: ${figure.name} is outside its bound.`);
  const result =
    blind.length > 0 ? 'unknown' : misses.length > 0 ? 'missed' : doubts.length > 0 ? 'unknown' : 'met';
  return {
    result,
    reasons: [...blind, ...misses, ...doubts],
    figures,
    findings,
    errorsByClass: errorClasses(all),
    blindFor,
  };
}

function doubtsAbout(
  evidence: Evidence,
  findings: Findings,
  acceptedDuring: number,
  dnsOutages: number,
): readonly string[] {
  const doubts: string[] = [];
  if (evidence.fault === 'kill' && evidence.provedMs === undefined)
    doubts.push('The fault was not proved effective.');
  if (acceptedDuring < ACCEPTED_DURING_FAULT_MIN) {
    doubts.push(
      `Only ${acceptedDuring} messages were accepted during the fault; ${ACCEPTED_DURING_FAULT_MIN} are needed to prove anything.`,
    );
  }
  if (evidence.fault === 'kill' && dnsOutages === 0) doubts.push('No DNS-only client noticed the fault.');
  if (!evidence.lateReadersFinished) doubts.push('A late reader did not reach the end of its mailbox.');
  if (findings.delivered === 0) doubts.push('Nothing was delivered.');
  return doubts;
}

function messageFigures(findings: Findings): readonly Figure[] {
  return [
    told('messages', 'accepted', findings.accepted, 'messages'),
    told('messages', 'delivered', findings.delivered, 'messages'),
    atMost('messages', 'accepted but lost', findings.lost.length, 'messages', 0),
    atMost('messages', 'duplicates seen by the application', findings.duplicates.length, 'messages', 0),
    told('messages', 'repetitions that clients recognised', findings.repetitions, 'messages'),
    atMost('messages', 'phantom', findings.phantom.length, 'messages', 0),
    atMost('messages', 'corrupted', findings.corrupted.length, 'messages', 0),
    atMost('messages', 'misdelivered', findings.misdelivered.length, 'messages', 0),
    told('messages', 'unknown to their sender', findings.unknown, 'messages'),
    told('messages', 'of these delivered', findings.recovered, 'messages'),
  ];
}

function detectionFigures(evidence: Evidence): readonly Figure[] {
  const { answers, site, vantageEvents, window } = evidence;
  if (evidence.fault === 'none') {
    const changes = answers.filter(({ atMs }) => atMs >= window.beganMs && atMs < window.endMs);
    return [atMost('detection', 'changes of an answer', changes.length, 'changes', 0)];
  }
  const zeroMs = evidence.provedMs ?? window.beganMs;
  const firstDown = (kind: 'verdict' | 'health'): number | undefined =>
    vantageEvents.find(
      (event) =>
        event.kind === kind && event.site === site && event.value === 'down' && event.atMs >= window.beganMs,
    )?.atMs;
  const survivors = evidence.sites.filter((name) => name !== site);
  return [
    atMost(
      'detection',
      'first vantage says down',
      since(zeroMs, firstDown('verdict')),
      's',
      BOUNDS.firstDownS,
    ),
    atMost('detection', 'quorum says down', since(zeroMs, firstDown('health')), 's', BOUNDS.quorumS),
    ...survivors.map((nameserver) => {
      const changed = answers.find(
        (change) =>
          change.nameserver === nameserver &&
          change.atMs >= window.beganMs &&
          change.sites.length > 0 &&
          !change.sites.includes(site),
      );
      const name = `changed answer at ns-${nameserver}`;
      return atMost('detection', name, since(zeroMs, changed?.atMs), 's', BOUNDS.answerS);
    }),
  ];
}

function clientFigures(
  evidence: Evidence,
  during: { readonly dns: readonly Operation[]; readonly failover: readonly Operation[] },
): readonly Figure[] {
  const { ledgers, window } = evidence;
  const dnsSend = sendOutages(during.dns);
  const dnsReceive = receiveOutages(ledgers.dns, window);
  const failoverReceive = receiveOutages(ledgers.failover, window);
  const failoverSendS = during.failover.map((operation) => sendLatencyMs(operation) / 1000);
  const failoverSend = percentileFigures('failover, send', failoverSendS, BOUNDS.failoverSend);
  if (evidence.fault === 'none') {
    const outages = [...dnsSend, ...dnsReceive, ...sendOutages(during.failover), ...failoverReceive];
    return [atMost('clients', 're-routed', outages.length, 'clients', 0), ...failoverSend];
  }
  const zeroMs = evidence.provedMs ?? window.beganMs;
  const lastBack = lastBackS([...dnsSend, ...dnsReceive], zeroMs);
  return [
    ...outageFigures('DNS-only, send', dnsSend, BOUNDS.dnsOnly),
    ...outageFigures('DNS-only, receive', dnsReceive, BOUNDS.dnsOnly),
    atMost('clients', 'DNS-only, last one back after the fault', lastBack, 's', BOUNDS.dnsOnly.last),
    ...failoverSend,
    ...outageFigures('failover, receive', failoverReceive, BOUNDS.failoverReceive),
  ];
}

function outageFigures(who: string, outages: readonly Outage[], bounds: OutageBounds): readonly Figure[] {
  const seconds = outages.map(({ beganMs, endedMs }) => since(beganMs, endedMs) ?? Number.POSITIVE_INFINITY);
  const never = seconds.filter((value) => !Number.isFinite(value)).length;
  return [
    told('clients', `${who}: without service`, outages.length, 'clients'),
    // Nobody was without service: no time is well within any bound.
    ...percentileFigures(`${who}:`, outages.length === 0 ? [0] : seconds, bounds),
    atMost('clients', `${who}: never back`, never, 'clients', 0),
  ];
}

function percentileFigures(who: string, seconds: readonly number[], bounds: OutageBounds): readonly Figure[] {
  const shares = { p50: 0.5, p99: 0.99, last: 1 } as const;
  return (['p50', 'p99', 'last'] as const).map((name) =>
    atMost('clients', `${who} ${name}`, percentile(seconds, shares[name]), 's', bounds[name]),
  );
}

function lastBackS(outages: readonly Outage[], zeroMs: number): number | undefined {
  if (outages.length === 0) return 0;
  const ends = outages.map(({ endedMs }) => since(zeroMs, endedMs) ?? Number.POSITIVE_INFINITY);
  return percentile(ends, 1);
}

/**
 * DNS-only clients repeat nothing, so all their sends may fail until the last of them has to be back; after that, and
 * always for clients with failover, only the share that a p99 leaves out.
 */
function errorFigures(
  evidence: Evidence,
  during: { readonly dns: readonly Operation[]; readonly failover: readonly Operation[] },
): readonly Figure[] {
  const { ledgers, window } = evidence;
  const backMs =
    evidence.fault === 'none'
      ? window.beganMs
      : (evidence.provedMs ?? window.beganMs) + BOUNDS.dnsOnly.last * 1000;
  const early = during.dns.filter(({ attempt }) => attempt.intendedMs < backMs).length;
  const after = operationsOf([...ledgers.dns, ...ledgers.failover]).filter(
    ({ attempt }) => attempt.intendedMs >= window.endMs,
  );
  const groups = [
    { name: 'DNS-only, during the fault', operations: during.dns, mayFail: early },
    { name: 'failover, during the fault', operations: during.failover, mayFail: 0 },
    { name: 'all, after the site was started again', operations: after, mayFail: 0 },
  ];
  return groups.flatMap(({ name, operations, mayFail }) => {
    const failed = operations.filter(({ outcome }) => outcome?.kind !== 'accepted').length;
    const max = mayFail + Math.ceil((operations.length - mayFail) * BOUNDS.failedShare);
    return [
      told('errors', `${name}: sends`, operations.length, 'sends'),
      atMost('errors', `${name}: not accepted`, failed, 'sends', max),
      ...Object.entries(errorClasses(operations)).map(([error, count]) =>
        told('errors', `  ${error}`, count, 'sends'),
      ),
    ];
  });
}

function errorClasses(operations: readonly Operation[]): Readonly<Record<string, number>> {
  const classes: Record<string, number> = {};
  for (const { outcome } of operations) {
    if (outcome?.kind === 'accepted') continue;
    const name = outcome === undefined ? 'unknown: no answer' : `${outcome.kind}: ${outcome.detail}`;
    classes[name] = (classes[name] ?? 0) + 1;
  }
  return classes;
}

function recoveryFigures(evidence: Evidence): readonly Figure[] {
  if (evidence.fault === 'none') return [];
  const { recovery, window } = evidence;
  const zeroMs = evidence.provedMs ?? window.beganMs;
  const afterFault = (atMs: number | undefined): number | undefined => since(zeroMs, atMs);
  const afterReturn = (atMs: number | undefined): number | undefined => since(window.endMs, atMs);
  const { twoCopiesMs, siteReadyMs, threeCopiesMs, inEveryAnswerMs } = recovery;
  const rows = [
    ['two copies of everything again, after the fault', afterFault(twoCopiesMs), BOUNDS.twoCopiesS],
    ['site ready, after its return', afterReturn(siteReadyMs), BOUNDS.siteReadyS],
    ['three copies of everything, after its return', afterReturn(threeCopiesMs), BOUNDS.threeCopiesS],
    ['in every answer again, after its return', afterReturn(inEveryAnswerMs), BOUNDS.inEveryAnswerS],
  ] as const;
  return rows.map(([name, valueS, maxS]) => atMost('recovery', name, valueS, 's', maxS));
}

function since(fromMs: number, toMs: number | undefined): number | undefined {
  return toMs === undefined ? undefined : Math.max(0, toMs - fromMs) / 1000;
}

function told(group: Group, name: string, value: number | undefined, unit: Unit): Figure {
  return { group, name, value, unit, max: undefined, min: undefined, passed: true };
}

/** What did not happen, or could not be measured, is outside its bound. */
function atMost(group: Group, name: string, value: number | undefined, unit: Unit, max: number): Figure {
  return { group, name, value, unit, max, min: undefined, passed: value !== undefined && value <= max };
}

function atLeast(group: Group, name: string, value: number, unit: Unit, min: number): Figure {
  return { group, name, value, unit, max: undefined, min, passed: value >= min };
}
