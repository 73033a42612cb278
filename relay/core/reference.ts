/**
 * How stores and peers name a thing that a site may hold, and what became of a thing that was offered to one.
 */
import type { MailboxTag } from './mailbox.ts';

/** Names one thing that a store may hold. */
export interface Reference {
  readonly kind: 'message' | 'ack';
  readonly mailbox: MailboxTag;
  /** The message's id or the ack's. */
  readonly id: string;
}

/** Names a message. */
export function referenceTo({ mailbox, id }: Omit<Reference, 'kind'>): Reference {
  return { kind: 'message', mailbox, id };
}

/** A reference in a list, with its expiry there: wall clock, milliseconds. */
export interface Listed extends Reference {
  readonly untilMs: number;
}

/** A reference that may say how long the thing lives elsewhere. */
export type Asked = Reference & Partial<Listed>;

/**
 * What became of an insertion. `stored` and `duplicate`: it is here. `buried`: its recipient has acked it already.
 * `expired`: too late. `other_kept`: another message has its id, and stays.
 */
export type InsertOutcome = 'stored' | 'duplicate' | 'buried' | 'expired' | 'other_kept';
