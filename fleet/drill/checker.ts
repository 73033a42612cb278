/**
 * The checker: from the ledgers alone, what became of every message.
 *
 * The formulas are those of Jepsen's `set` and `total-queue`: lost = accepted − delivered, phantom = delivered −
 * attempted, recovered = delivered − accepted. A delivery counts only when every byte is right and it reached the
 * mailbox it was for. Pure: the same ledgers give the same findings.
 */
import type { Delivery, LedgerEntry, SendId } from './ledger.ts';
import { digestOf, makePayload } from './payload.ts';

export interface Findings {
  readonly attempted: number;
  readonly accepted: number;
  readonly refused: number;
  /** Attempts whose answer never came, or that have none in the ledger. */
  readonly unknown: number;
  /** Accepted and delivered. */
  readonly delivered: number;
  /** Accepted but never delivered. */
  readonly lost: readonly SendId[];
  /** Of the unknown: delivered all the same. */
  readonly recovered: number;
  /** Delivered although the sender was refused: no promise was broken, but it is worth knowing. */
  readonly refusedButDelivered: number;
  /** Delivered and well-formed, but nobody ever tried to send it. */
  readonly phantom: readonly SendId[];
  /** Could not be decrypted or read, or some byte is not what it should be. */
  readonly corrupted: readonly string[];
  /** Delivered from a mailbox it was not for. */
  readonly misdelivered: readonly SendId[];
  /** Deliveries beyond the first of a message, those that the client recognised and dropped included. */
  readonly repetitions: number;
  /** The same message given to the application more than once. */
  readonly duplicates: readonly SendId[];
}

export interface CheckOptions {
  readonly runId: string;
  readonly payloadBytes: number;
}

/** The findings about all ledgers of a run together; messages of other runs are phantoms. */
export function check(entries: readonly LedgerEntry[], options: CheckOptions): Findings {
  const book = readBook(entries);
  const judged = judgeDeliveries(book, options);
  const accepted = [...book.outcomes].filter(([, outcome]) => outcome === 'accepted').map(([id]) => id);
  const lost = accepted.filter((id) => !judged.good.has(id));
  const count = (kind: 'refused' | 'unknown', delivered?: true): number => {
    let found = 0;
    for (const id of book.addressee.keys()) {
      const outcome = book.outcomes.get(id) ?? 'unknown';
      if (outcome === kind && (delivered === undefined || judged.good.has(id))) found += 1;
    }
    return found;
  };
  return {
    attempted: book.addressee.size,
    accepted: accepted.length,
    refused: count('refused'),
    unknown: count('unknown'),
    delivered: accepted.length - lost.length,
    lost,
    recovered: count('unknown', true),
    refusedButDelivered: count('refused', true),
    ...judged.faults,
  };
}

interface Book {
  /** The mailbox that each attempted message is for. */
  readonly addressee: ReadonlyMap<SendId, string>;
  readonly outcomes: ReadonlyMap<SendId, 'accepted' | 'refused' | 'unknown'>;
  readonly deliveries: readonly Delivery[];
  /** Repetitions that clients recognised. */
  readonly repeated: number;
}

function readBook(entries: readonly LedgerEntry[]): Book {
  const addressee = new Map<SendId, string>();
  const outcomes = new Map<SendId, 'accepted' | 'refused' | 'unknown'>();
  const deliveries: Delivery[] = [];
  let repeated = 0;
  for (const entry of entries) {
    switch (entry.kind) {
      case 'attempt':
        addressee.set(entry.id, entry.to);
        break;
      case 'accepted':
      case 'refused':
      case 'unknown':
        outcomes.set(entry.id, entry.kind);
        break;
      case 'delivered':
        deliveries.push(entry);
        break;
      case 'repeated':
        repeated += 1;
        break;
      case 'link':
        break;
    }
  }
  return { addressee, outcomes, deliveries, repeated };
}

interface Judged {
  /** Delivered whole, to the right mailbox. */
  readonly good: ReadonlySet<SendId>;
  readonly faults: Pick<Findings, 'phantom' | 'corrupted' | 'misdelivered' | 'repetitions' | 'duplicates'>;
}

function judgeDeliveries({ addressee, deliveries, repeated }: Book, options: CheckOptions): Judged {
  const good = new Set<SendId>();
  const times = new Map<SendId, number>();
  const phantom: SendId[] = [];
  const corrupted: string[] = [];
  const misdelivered: SendId[] = [];
  for (const { claim, digest, mailbox } of deliveries) {
    if (claim === null || digest !== digestOf(makePayload(options.runId, claim, options.payloadBytes))) {
      corrupted.push(claim?.id ?? `unreadable, in ${mailbox}`);
      continue;
    }
    times.set(claim.id, (times.get(claim.id) ?? 0) + 1);
    if (!addressee.has(claim.id)) phantom.push(claim.id);
    else if (claim.to !== mailbox || addressee.get(claim.id) !== mailbox) misdelivered.push(claim.id);
    else good.add(claim.id);
  }
  let repetitions = repeated;
  for (const time of times.values()) repetitions += time - 1;
  const duplicates = [...times].filter(([, time]) => time > 1).map(([id]) => id);
  return { good, faults: { phantom, corrupted, misdelivered, repetitions, duplicates } };
}
