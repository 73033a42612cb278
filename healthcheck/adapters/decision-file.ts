/**
 * The decision log on disk: `decisions.jsonl` in the state directory, and `decisions.1.jsonl`, the older part. Lines
 * are only ever added. Its chain is verified at start; a log that does not hold is set aside, loudly, and a new one
 * begins. Nothing of the nameserver's work waits for this file or depends on it.
 */
import { open, readFile, rename, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type LogEntry,
  type LogRecord,
  lineAfter,
  NO_LINES,
  readLog,
  type Tip,
  tipOf,
} from '../core/decision-log.ts';
import { errorCode } from './listen.ts';

export const DECISION_LOG_FAULTS = ['log_altered', 'log_torn', 'log_unwritable'] as const;
export type DecisionLogFault = (typeof DECISION_LOG_FAULTS)[number];

export interface DecisionFile {
  /** Writes soon, in order; `atWallMs` is when it was decided. */
  append(entry: LogEntry, atWallMs: number): void;
  /** Resolves when nothing waits any more. */
  settled(): Promise<void>;
}

export interface DecisionFileOptions {
  readonly directory: string;
  readonly faulted: (fault: DecisionLogFault) => void;
  /** A file that has grown beyond this becomes the older part. */
  readonly fileBytesMax: number;
}

/** About a thousand changes of the answer; the older part holds as many. */
export const DECISION_FILE_BYTES_MAX = 4_194_304;

const CURRENT = 'decisions.jsonl';
const OLDER = 'decisions.1.jsonl';

/** Verifies what is there and goes on after it. Never rejects. */
export async function openDecisionFile(options: DecisionFileOptions): Promise<DecisionFile> {
  const current = join(options.directory, CURRENT);
  let tip = await lastTip(options);
  let manifest: LogEntry | undefined;
  let bytes = Buffer.byteLength(await contentOf(current));
  let writing = Promise.resolve();

  const write = async (entry: LogEntry, atWallMs: number): Promise<void> => {
    const next = lineAfter(tip, entry, atWallMs);
    const file = await open(current, 'a', 0o600);
    try {
      await file.appendFile(`${next.line}\n`);
      await file.datasync();
    } catch (error) {
      // A disk that is full takes a part of the line, and the next one would be read as the rest of it.
      await file.truncate(bytes).catch(() => undefined);
      throw error;
    } finally {
      await file.close();
    }
    tip = next.tip;
    bytes += Buffer.byteLength(next.line) + 1;
  };
  const append = async (entry: LogEntry, atWallMs: number): Promise<void> => {
    if (entry.kind === 'manifest') manifest = entry;
    if (bytes > options.fileBytesMax) {
      await rename(current, join(options.directory, OLDER));
      bytes = 0;
      // Every file can be explained by itself.
      if (manifest !== undefined && manifest !== entry) await write(manifest, atWallMs);
    }
    await write(entry, atWallMs);
  };
  return {
    append: (entry, atWallMs) => {
      writing = writing
        .then(async () => append(entry, atWallMs))
        .catch(() => options.faulted('log_unwritable'));
    },
    settled: async () => writing,
  };
}

/** All lines of the log in a directory, the older part first. */
export async function readDecisionLines(directory: string): Promise<readonly string[]> {
  const parts = await Promise.all([OLDER, CURRENT].map(async (name) => contentOf(join(directory, name))));
  return parts.flatMap(linesOf);
}

/** A page of the log for who asks over the network, bytes. */
const PAGE_BYTES_MAX = 1_048_576;

/** The lines after the one numbered `n`, as many as fit in a page. */
export async function decisionLinesAfter(directory: string, n: number): Promise<readonly string[]> {
  const page: string[] = [];
  let bytes = 0;
  for (const line of await readDecisionLines(directory)) {
    // Every line begins with its number (`lineAfter`).
    if (Number(/^\{"n":(\d+),/.exec(line)?.[1] ?? 0) <= n) continue;
    bytes += line.length + 1;
    if (bytes > PAGE_BYTES_MAX && page.length > 0) break;
    page.push(line);
  }
  return page;
}

async function lastTip(options: DecisionFileOptions): Promise<Tip> {
  const current = join(options.directory, CURRENT);
  const content = await contentOf(current);
  const whole = content.slice(0, content.lastIndexOf('\n') + 1);
  if (whole.length < content.length) {
    // The process ended while it wrote; what it wrote is not a line.
    options.faulted('log_torn');
    await truncate(current, Buffer.byteLength(whole)).catch(() => options.faulted('log_unwritable'));
  }
  const lines = [...linesOf(await contentOf(join(options.directory, OLDER))), ...linesOf(whole)];
  const read = readLog(lines);
  if (read.ok) return tipAfter(read.value, lines);
  options.faulted('log_altered');
  for (const name of [OLDER, CURRENT]) {
    const path = join(options.directory, name);
    await rename(path, `${path}.altered`).catch(() => undefined);
  }
  return NO_LINES;
}

function tipAfter(records: readonly LogRecord[], lines: readonly string[]): Tip {
  const [record, line] = [records.at(-1), lines.at(-1)];
  return record === undefined || line === undefined ? NO_LINES : tipOf(record, line);
}

function linesOf(content: string): readonly string[] {
  return content.split('\n').filter((line) => line !== '');
}

/** The content, empty when there is no such file. */
async function contentOf(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return '';
    throw error;
  }
}
