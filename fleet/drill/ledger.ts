/**
 * The ledger: what clients wrote down while they did it, and the only evidence that the report is computed from.
 *
 * An attempt is on disk before it begins, so a client that dies in the middle leaves an attempt without an answer,
 * which counts as unknown. Times are milliseconds of the machine's monotonic clock, the same for all processes.
 */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';

/** `<client>/<sequence>`: names one message of a run. */
export type SendId = string;

export interface Attempt {
  readonly kind: 'attempt';
  readonly id: SendId;
  readonly client: string;
  /** Label of the mailbox it is for. */
  readonly to: string;
  /** When the schedule wanted it to begin, whether or not the client was free then. */
  readonly intendedMs: number;
  readonly startMs: number;
}

/**
 * `accepted`: the fleet promised. `refused`: it answered, or could not be reached, so that nothing was promised and
 * the sender knows. `unknown`: no answer came; it may or may not have been accepted.
 */
export interface Outcome {
  readonly kind: 'accepted' | 'refused' | 'unknown';
  readonly id: SendId;
  readonly endMs: number;
  /** The site that accepted, where the client knows; otherwise the class of the error. */
  readonly detail: string;
}

/** The application was given a message. */
export interface Delivery {
  readonly kind: 'delivered';
  /** Label of the mailbox that it was read from. */
  readonly mailbox: string;
  /** What the content says it is; null when it could not be decrypted or read. */
  readonly claim: { readonly id: SendId; readonly to: string } | null;
  /** SHA-256 of the plaintext, hex; '' when it could not be decrypted. */
  readonly digest: string;
  readonly atMs: number;
}

/** The client recognised a message that it had seen already, and did not give it to the application again. */
interface Repetition {
  readonly kind: 'repeated';
  readonly mailbox: string;
}

/** A recipient can receive from now on (it has a connection that is ready), or no longer (it has none). */
export interface LinkChange {
  readonly kind: 'link';
  readonly client: string;
  readonly change: 'up' | 'down';
  /** The site, where the client knows. */
  readonly site: string;
  readonly atMs: number;
}

export type LedgerEntry = Attempt | Outcome | Delivery | Repetition | LinkChange;

export interface LedgerWriter {
  write(entry: LedgerEntry): void;
  close(): void;
}

/** Appends to a file. Returns from `write` after the operating system has the line, so it survives the process. */
export function openLedger(path: string): LedgerWriter {
  const file = openSync(path, 'a', 0o600);
  return {
    write: (entry) => void writeSync(file, `${JSON.stringify(entry)}\n`),
    close: () => closeSync(file),
  };
}

/** Reads a ledger; a last line that was cut off by the end of its writer is left out. */
export function readLedger(path: string): readonly LedgerEntry[] {
  const lines = readFileSync(path, 'utf8').split('\n');
  return lines.slice(0, -1).map((line) => JSON.parse(line) as LedgerEntry);
}
