/**
 * From the evidence of a run to its figures, each beside its bound, and to the result. Pure: the same evidence gives
 * the same report.
 *
 * A result is one of three, as in Jepsen: met, missed, or unknown. Unknown is for a run that proves nothing: its
 * checker is blind, its fault was not effective, or too little happened during it.
 */
import { answerFigures } from './answer-figures.ts';
import { ACCEPTED_DURING_FAULT_MIN, BOUNDS } from './bounds.ts';
import { check, type Findings } from './checker.ts';
import { clientFigures, errorClasses, errorFigures } from './client-figures.ts';
import { type Evidence, zeroOf } from './evidence.ts';
import { atLeast, atMost, type Figure, secondsSince, told } from './figure.ts';
import { operationsIn, operationsOf, receiveOutages, sendOutages } from './outages.ts';
import { type Plant, selfTest } from './self-test.ts';

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

/** The figures of a run and its result. A missed bound outweighs a doubt; a blind checker outweighs both. */
export function assess(evidence: Evidence): Assessment {
  const { expects, ledgers, window } = evidence;
  const entries = Object.values(ledgers).flat();
  const options = { runId: evidence.runId, payloadBytes: evidence.payloadBytes };
  const findings = check(entries, options);
  const blindFor = selfTest(entries, options);
  const during = {
    dns: operationsIn(operationsOf(ledgers.dns), window),
    failover: operationsIn(operationsOf(ledgers.failover), window),
  };
  const all = [...during.dns, ...during.failover];
  const accepted = all.filter(({ outcome }) => outcome?.kind === 'accepted').length;
  const noticed = sendOutages(during.dns).length + receiveOutages(ledgers.dns, window).length;
  const proof = [
    atMost('proof', 'plants that the checker missed', blindFor.length, 'plants', 0),
    ...(expects.failoverServed
      ? [atLeast('proof', 'accepted during the fault', accepted, 'messages', ACCEPTED_DURING_FAULT_MIN)]
      : []),
    ...(expects.noticed
      ? [atLeast('proof', 'DNS-only clients that noticed the fault', noticed, 'clients', 1)]
      : []),
  ];
  const figures: readonly Figure[] = [
    ...messageFigures(findings, evidence),
    ...answerFigures(evidence),
    ...clientFigures(evidence, during),
    ...errorFigures(evidence, during),
    ...recoveryFigures(evidence),
    ...proof,
  ];
  const doubts = doubtsAbout(evidence, findings, proof);
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

function doubtsAbout(evidence: Evidence, findings: Findings, proof: readonly Figure[]): readonly string[] {
  return [
    ...(evidence.provedMs === undefined ? ['The fault was not proved effective.'] : []),
    ...proof
      .filter(({ min, passed }) => min !== undefined && !passed)
      .map(({ name, value, min }) => `The run proves nothing: ${name} ${value}, and ${min} are needed.`),
    ...(evidence.recipientsConnected
      ? []
      : ['A recipient was not connected at the end: what it lacks may wait for it in the stores.']),
    ...(evidence.lateReadersFinished ? [] : ['A late reader did not reach the end of its mailbox.']),
    ...(findings.delivered === 0 ? ['Nothing was delivered.'] : []),
  ];
}

function messageFigures(findings: Findings, evidence: Evidence): readonly Figure[] {
  const everybodyRead = evidence.recipientsConnected && evidence.lateReadersFinished;
  return [
    told('messages', 'accepted', findings.accepted, 'messages'),
    told('messages', 'delivered', findings.delivered, 'messages'),
    everybodyRead
      ? atMost('messages', 'accepted but lost', findings.lost.length, 'messages', 0)
      : told('messages', 'accepted but lost, or not yet read', findings.lost.length, 'messages'),
    atMost('messages', 'duplicates seen by the application', findings.duplicates.length, 'messages', 0),
    told('messages', 'repetitions that clients recognised', findings.repetitions, 'messages'),
    atMost('messages', 'phantom', findings.phantom.length, 'messages', 0),
    atMost('messages', 'corrupted', findings.corrupted.length, 'messages', 0),
    atMost('messages', 'misdelivered', findings.misdelivered.length, 'messages', 0),
    told('messages', 'unknown to their sender', findings.unknown, 'messages'),
    told('messages', 'of these delivered', findings.recovered, 'messages'),
  ];
}

function recoveryFigures(evidence: Evidence): readonly Figure[] {
  if (evidence.isControl) return [];
  const { expects, recovery, window } = evidence;
  const afterEnd = (atMs: number | undefined): number | undefined => secondsSince(window.endMs, atMs);
  const twoCopiesS = secondsSince(zeroOf(evidence), recovery.twoCopiesMs);
  const rows = [
    ['every site ready, after its end', afterEnd(recovery.readyMs), BOUNDS.readyS],
    ['three copies of everything, after its end', afterEnd(recovery.threeCopiesMs), BOUNDS.threeCopiesS],
    ['in every answer again, after its end', afterEnd(recovery.inEveryAnswerMs), BOUNDS.inEveryAnswerS],
  ] as const;
  return [
    ...(expects.withdrawnAt === 'nowhere'
      ? []
      : [
          atMost(
            'recovery',
            'two copies of everything again, after the fault',
            twoCopiesS,
            's',
            BOUNDS.twoCopiesS,
          ),
        ]),
    ...rows.map(([name, valueS, maxS]) => atMost('recovery', name, valueS, 's', maxS)),
  ];
}
