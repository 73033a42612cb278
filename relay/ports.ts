/**
 * The two things a relay needs from outside and that have more than one implementation: a place that keeps
 * messages, and links to the relays of other sites.
 */
import type { SiteName } from '../fleet/manifest/manifest.ts';
import type { SignedAck } from './core/ack.ts';
import type { Digest } from './core/digest.ts';
import type { MailboxTag, Partition } from './core/mailbox.ts';
import type { Message } from './core/message.ts';
import type { PeerReply, PeerRequest } from './core/peer-frame.ts';
import type { Asked, InsertOutcome, Listed, Reference } from './core/reference.ts';

/** `owedTo`: the sites that are not known to hold it; each gets an outbox entry in the same atomic step. */
export interface Insertion {
  readonly message: Message;
  readonly owedTo: readonly SiteName[];
}

export interface Burial {
  readonly ack: SignedAck;
  readonly owedTo: readonly SiteName[];
}

/** These sites hold these things, so nobody owes them a copy any more. */
export interface Settlement {
  readonly sites: readonly SiteName[];
  readonly references: readonly Reference[];
}

/** Since when a store has had a life, and from whom it has been refilled. Absent after a wipe. */
export interface Epoch {
  /** 16 random bytes as base64url. */
  readonly id: string;
  readonly refilledFrom: readonly SiteName[];
  /** Wall clock, milliseconds: when the site was last known to be whole and in touch with enough others. */
  readonly seenMs: number;
}

/** Entries that the outbox towards one site takes in one partition, so 2^20 in all. */
export const OUTBOX_ENTRIES_MAX = 4096;

/** What a mailbox holds at this site. */
export interface MailboxUsage {
  readonly messages: number;
  /** Of all records; an estimate when there are many. */
  readonly bytes: number;
  /** Whether an ack of its owner is remembered. */
  readonly isClaimed: boolean;
}

/** What a site owes to one other site. */
export interface Debt {
  readonly count: number;
  /** Wall clock, milliseconds, of the oldest entry; undefined when there is none. */
  readonly oldestMs: number | undefined;
}

/**
 * Keeps the messages of a site. Every method rejects with a `StoreUnavailable` when the store cannot say that it
 * was done: the caller then knows nothing, and answers 503. When a write resolves, it is as durable as the store
 * can make it (Redis: fsynced). A store that is spread over several Redis may be without a part: `insert` and `bury` then
 * have a `StoreUnavailable` in the place of each outcome that is not known, and reject only when none is.
 */
export interface MessageStore {
  /** Whether what it acknowledges survives the process. */
  readonly durable: boolean;
  /** Idempotent; the outcomes are in the order of the insertions. Wakes the listeners of each mailbox stored to. */
  insert(
    insertions: readonly Insertion[],
    nowMs: number,
  ): Promise<readonly (InsertOutcome | StoreUnavailable)[]>;
  /** Deletes what the acks name and remembers them as tombstones. True for each ack that was not known before. */
  bury(burials: readonly Burial[], nowMs: number): Promise<readonly (boolean | StoreUnavailable)[]>;
  /**
   * The head of a mailbox in order of (acceptedMs, id): at most `limit` messages, none that expired before
   * `nowMs`. A damaged record is left out, and reported through `onDamage`.
   */
  pending(mailbox: MailboxTag, limit: number, nowMs: number): Promise<readonly Message[]>;
  /** In the order asked; undefined for what is not here (acked, expired, damaged, never seen). */
  load(references: readonly Reference[]): Promise<readonly (Message | SignedAck | undefined)[]>;
  /**
   * Those of `references` that are neither here nor buried here; of messages that say how long they live elsewhere also
   * what lives shorter here.
   */
  missing(references: readonly Asked[]): Promise<readonly Asked[]>;
  /** For each message, in the order asked, the ack that buries it here; undefined where none does. Retractions do not count. */
  buriedBy(messages: readonly Reference[]): Promise<readonly (Reference | undefined)[]>;
  /** For each message, in the order asked, whether it is here by the index of its mailbox; nothing is read of it. */
  indexed(messages: readonly Reference[]): Promise<readonly boolean[]>;
  /**
   * A page of everything that a partition holds, acks included. `cursor` is '' at first; the answer's cursor is ''
   * after the last page. What is there from beginning to end is listed at least once; there may be repeats.
   */
  list(
    partition: Partition,
    cursor: string,
    limit: number,
  ): Promise<{ readonly references: readonly Listed[]; readonly cursor: string }>;
  /**
   * What each partition holds that expires later than `fromMs`, as a digest; undefined when too much of it is about
   * to expire to be reckoned.
   */
  digest(partitions: readonly Partition[], fromMs: number): Promise<readonly (Digest | undefined)[]>;
  /**
   * Verifies a page of a partition, `cursor` as in `list`: what is damaged or incomplete is forgotten and reported
   * through `onDamage`. After the last page the partition's digest is made anew.
   */
  verify(
    partition: Partition,
    cursor: string,
    limit: number,
  ): Promise<{ readonly checked: number; readonly cursor: string }>;
  /**
   * Outbox entries for `site` that were made before `beforeMs`, at most `limit`, oldest first per partition. What
   * another relay of this site made may be found only after 64 calls; so it is with `expire`, and with `debts` after 256.
   */
  owed(site: SiteName, beforeMs: number, limit: number): Promise<readonly Reference[]>;
  /** Takes entries out of the outboxes. */
  settle(settlements: readonly Settlement[]): Promise<void>;
  debts(sites: readonly SiteName[]): Promise<ReadonlyMap<SiteName, Debt>>;
  /** Discards up to `limit` messages and tombstones that expired before `nowMs`; gives how many messages. */
  expire(nowMs: number, limit: number): Promise<number>;
  usage(mailbox: MailboxTag): Promise<MailboxUsage>;
  /** Share of its memory that is in use, 0 to 1; 0 when it knows no limit. */
  fullness(): Promise<number>;
  readEpoch(): Promise<Epoch | undefined>;
  /** Writes `next` if the epoch is still `expected`; false when it is another one by now, and nothing was done. */
  replaceEpoch(expected: Epoch | undefined, next: Epoch): Promise<boolean>;
  /** Resolves when the store answers. */
  ping(): Promise<void>;
  /**
   * Calls `listener` after a message was stored to or buried in a mailbox, by any relay of this site, and tells it `what` as
   * far as that is known. What another relay did is only told of mailboxes for which `isListening` is true. Lossy.
   */
  onChange(
    listener: (mailbox: MailboxTag, what?: Message | SignedAck) => void,
    isListening: (mailbox: MailboxTag) => boolean,
  ): void;
  /** Hands a message that is not stored to the other relays of this site that listen now. Nobody knows who does. */
  pass(message: Message): Promise<void>;
  /** Calls `listener` with each message that another relay of this site passed. Lossy. */
  onPassed(listener: (message: Message) => void): void;
  /** Calls `listener` for each damaged record found. */
  onDamage(listener: () => void): void;
  /**
   * Calls `listener` when the store, or a part of it, answers again after it was away, or a part is elsewhere than before:
   * what was confirmed last may be gone, with the power or because an older copy took over.
   */
  onReturn(listener: () => void): void;
  /** Calls `listener` with how many entries found no room in an outbox: the full comparison has to find them. */
  onOutboxFull(listener: (count: number) => void): void;
  close(): Promise<void>;
}

/** The store did not confirm in time, refused, or is away; nobody knows whether it was done. */
export class StoreUnavailable extends Error {
  override readonly name = 'StoreUnavailable';
}

/** For whoever needs all of what it wrote: throws the first `StoreUnavailable` among the outcomes. */
export function assertWritten(outcomes: readonly unknown[]): void {
  const unknown = outcomes.find((outcome) => outcome instanceof StoreUnavailable);
  if (unknown !== undefined) throw unknown;
}

/** A link to the relays of one other site. */
export interface PeerLink {
  readonly site: SiteName;
  readonly provider: string;
  isUp(): boolean;
  /** Rejects with `PeerUnreachable` when the link is down, breaks, or does not answer within `timeoutMs`. */
  call(request: PeerRequest, timeoutMs: number): Promise<PeerReply>;
}

export class PeerUnreachable extends Error {
  override readonly name = 'PeerUnreachable';
}
