/**
 * Why DNS answered what it answered: takes one record of the decision log, checks the signatures of its votes, and
 * decides again with the same core that decided then.
 */
import { type Manifest } from '../fleet/manifest/manifest.ts';
import { openOverrides, overrideKeys, withOverrides } from '../fleet/manifest/overrides.ts';
import { openManifest } from '../fleet/manifest/signed.ts';
import { fail, ok, type Result } from '../system/result.ts';
import { type AnswerReason, type Decision, decide, RULES } from './core/decision.ts';
import type { LogRecord } from './core/decision-log.ts';
import { type Answer, answerUnder } from './core/failover.ts';
import { openVote, parseVote, type Vote, voteKeysOf } from './core/vote.ts';

type AnswerRecord = Extract<LogRecord, { kind: 'answer' }>;

export interface Explanation {
  readonly n: number;
  readonly atWallMs: number;
  readonly vantage: string;
  readonly reason: AnswerReason;
  readonly manifestVersion: number;
  readonly isolated: boolean;
  readonly previous: Answer;
  readonly answer: Answer;
  readonly ttlSeconds: number;
  /** The stance of the vantage that decided, then the votes that it held, each with a valid signature. */
  readonly votes: readonly Vote[];
  readonly healths: Decision['healths'];
  readonly deferred: Decision['choice']['deferred'];
  /** The same core gives the same answer; null where nothing was decided, as at a start. */
  readonly reproduced: boolean | null;
}

/** Explains record `n`, or the last change of the answer. The fault is a sentence. */
export async function explain(
  records: readonly LogRecord[],
  n: number | 'last',
): Promise<Result<Explanation, string>> {
  const record = records.findLast(
    (one): one is AnswerRecord => one.kind === 'answer' && (n === 'last' || one.n === n),
  );
  if (record === undefined) {
    return fail(
      n === 'last' ? 'The log has no change of an answer.' : `Record ${n} is no change of an answer.`,
    );
  }
  const manifest = await manifestAt(record, records);
  if (!manifest.ok) return manifest;
  const votes = await openVotes(record, manifest.value);
  if (!votes.ok) return votes;
  const own = parseVote(record.own);
  if (own === undefined) return fail(`Record ${record.n}: its own stance is not well formed.`);

  const circumstances = {
    manifest: manifest.value,
    previous: record.previous,
    own,
    votes: votes.value,
    isolated: record.isolated,
    nowMs: record.nowMs,
    wallMs: record.atWallMs,
  };
  const { healths, choice, next } = decide(circumstances, RULES, () => record.previous);
  const { atWallMs, vantage, reason, isolated, previous, answer, ttlSeconds } = record;
  return ok({
    n: record.n,
    atWallMs,
    vantage,
    reason,
    manifestVersion: manifest.value.version,
    isolated,
    previous,
    answer,
    ttlSeconds,
    votes: [own, ...votes.value],
    healths,
    deferred: choice.deferred,
    reproduced: reproduces(record, manifest.value, next.ok ? next.value : undefined),
  });
}

function reproduces(record: AnswerRecord, manifest: Manifest, again: Answer | undefined): boolean | null {
  if (record.reason === 'cold_start') return null;
  const expected = record.reason === 'manifest' ? answerUnder(manifest, record.previous) : again;
  return expected !== undefined && JSON.stringify(expected) === JSON.stringify(record.answer);
}

/** The manifest that was in force, verified. */
async function manifestAt(
  record: AnswerRecord,
  records: readonly LogRecord[],
): Promise<Result<Manifest, string>> {
  const logged = records.findLast((one) => one.kind === 'manifest' && one.n < record.n);
  if (logged?.kind !== 'manifest')
    return fail(`Record ${record.n}: the manifest of its time is no longer logged.`);
  const opened = await openManifest(logged.signed, logged.key, 1);
  if (!opened.ok) return fail(`Record ${logged.n}: ${opened.fault.details.join(' ')}`);
  if (logged.overrides === undefined) return opened;
  const overrides = await openOverrides(logged.overrides, overrideKeys(opened.value, logged.key));
  return overrides.ok
    ? ok(withOverrides(opened.value, overrides.value.document.overrides))
    : fail(`Record ${logged.n}: ${overrides.fault.details.join(' ')}`);
}

async function openVotes(record: AnswerRecord, manifest: Manifest): Promise<Result<readonly Vote[], string>> {
  const keys = await voteKeysOf(manifest);
  const votes: Vote[] = [];
  for (const signed of record.votes) {
    const attempts = await Promise.all([...keys.keys()].map(async (name) => openVote(signed, name, keys)));
    const vote = attempts.find((attempt) => attempt.ok);
    if (vote === undefined || !vote.ok) {
      return fail(`Record ${record.n}: a vote in it is not signed by a vantage of the fleet.`);
    }
    votes.push(vote.value);
  }
  return ok(votes);
}
