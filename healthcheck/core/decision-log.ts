/**
 * The decision log: one line for every change of the answer, with everything that it rests on, so that anybody can
 * ask later why DNS left a provider, and check the reply.
 *
 * Each line names the SHA-256 of the line before it. So a line that was altered, left out or put in shows, unless
 * everything after it was written anew; keeping a hash elsewhere guards against that too. The votes in it carry the
 * signatures of the vantages that cast them.
 */
import { createHash } from 'node:crypto';
import { fail, ok, type Result } from '../../system/result.ts';
import type { AnswerReason, Circumstances } from './decision.ts';
import type { Answer } from './failover.ts';
import { encodeVote } from './vote.ts';

/** What is logged: the manifest that holds from here on, or a change of the answer. */
export type LogEntry =
  | {
      readonly kind: 'manifest';
      /** The compact JWS, and the key that it was verified with. */
      readonly signed: string;
      readonly key: string;
      /** The overrides that hold beside it, as they were signed; absent: none. */
      readonly overrides?: string;
    }
  | {
      readonly kind: 'answer';
      readonly vantage: string;
      readonly reason: AnswerReason;
      readonly previous: Answer;
      readonly answer: Answer;
      readonly ttlSeconds: number;
      readonly isolated: boolean;
      /** Monotonic milliseconds of the vantage that decided, to which the times in the answers refer. */
      readonly nowMs: number;
      /** The stance of the vantage itself, in the encoding of a vote. */
      readonly own: string;
      /** The other vantages' votes as they arrived. */
      readonly votes: readonly string[];
    };

/** The entry for a change that was decided under these circumstances. */
export function entryFor(
  change: Pick<AnswerEntry, 'reason' | 'answer' | 'ttlSeconds'>,
  { own, previous, isolated, nowMs }: Circumstances,
  votes: readonly string[],
): AnswerEntry {
  const { reason, answer, ttlSeconds } = change;
  const stance = encodeVote({ ...own, bootEpoch: 0, sequence: 0 });
  return {
    kind: 'answer',
    vantage: own.vantage,
    reason,
    previous,
    answer,
    ttlSeconds,
    isolated,
    nowMs,
    own: stance,
    votes,
  };
}

type AnswerEntry = Extract<LogEntry, { kind: 'answer' }>;

export type LogRecord = LogEntry & {
  /** Counts from 1. */
  readonly n: number;
  /** SHA-256 of the line before, base64url; of the first line the empty text. */
  readonly previousLine: string;
  /** Milliseconds since 1970. */
  readonly atWallMs: number;
};

/** Where the chain ends. */
export interface Tip {
  readonly n: number;
  /** SHA-256 of the last line, base64url. */
  readonly hash: string;
}

export const NO_LINES: Tip = { n: 0, hash: '' };

/** The next line, without its line feed, and the tip after it. */
export function lineAfter(
  tip: Tip,
  entry: LogEntry,
  atWallMs: number,
): { readonly line: string; readonly tip: Tip } {
  const record: LogRecord = { n: tip.n + 1, previousLine: tip.hash, atWallMs, ...entry };
  const line = JSON.stringify(record);
  return { line, tip: { n: record.n, hash: hashOf(line) } };
}

/** The records of a log's lines in their order, or a sentence that says which line breaks the chain. */
export function readLog(lines: readonly string[]): Result<readonly LogRecord[], string> {
  const records: LogRecord[] = [];
  let hash: string | undefined;
  for (const [index, line] of lines.entries()) {
    const record = parseRecord(line);
    if (record === undefined) return fail(`line ${index + 1} is no record of a decision log`);
    const last = records.at(-1);
    // The first line of a log whose older part was dropped continues a chain that is no longer here.
    const follows = last === undefined || (record.n === last.n + 1 && record.previousLine === hash);
    if (!follows)
      return fail(`line ${index + 1} does not follow from the line before it: the log was altered`);
    records.push(record);
    hash = hashOf(line);
  }
  return ok(records);
}

/** The tip of a log whose last line is this one. */
export function tipOf(record: LogRecord, line: string): Tip {
  return { n: record.n, hash: hashOf(line) };
}

function hashOf(line: string): string {
  return createHash('sha256').update(line).digest('base64url');
}

function parseRecord(line: string): LogRecord | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { n, previousLine, atWallMs, kind, signed, key, previous, answer, own, votes, nowMs } =
    value as Record<string, unknown>;
  if (typeof n !== 'number' || typeof previousLine !== 'string' || typeof atWallMs !== 'number') {
    return undefined;
  }
  const isManifest = kind === 'manifest' && typeof signed === 'string' && typeof key === 'string';
  const isAnswer =
    kind === 'answer' &&
    isAnswerLike(previous) &&
    isAnswerLike(answer) &&
    typeof own === 'string' &&
    typeof nowMs === 'number' &&
    Array.isArray(votes) &&
    votes.every((vote) => typeof vote === 'string');
  // What is not checked here is only shown, or compared with what the core makes of the rest.
  return isManifest || isAnswer ? (value as LogRecord) : undefined;
}

function isAnswerLike(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { generation, targets, failOpen, warming } = value as Record<string, unknown>;
  return (
    typeof generation === 'number' &&
    Array.isArray(targets) &&
    Array.isArray(failOpen) &&
    Array.isArray(warming)
  );
}
