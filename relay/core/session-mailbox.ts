/**
 * What a session remembers of one of its mailboxes, and of what it sent from it. Most recipients are idle most of the time, so
 * it is small until something happens.
 */
import type { MailboxTag } from './mailbox.ts';

/** A mailbox whose owner has proved its key. */
export interface OpenMailbox {
  readonly tag: MailboxTag;
  /** Raw Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array;
}

export interface Mailbox {
  readonly tag: MailboxTag;
  /** Raw Ed25519 in base64url: a typed array of 32 bytes takes four times as much memory. */
  readonly publicKey: string;
  /** It may hold something that is not on its way yet. */
  stale: boolean;
  /** Something happened to it, or it is time to look again, since it was last read. */
  changed: boolean;
  fetching: boolean;
  /** How many messages the fetch under way asked for. */
  asked: number;
  /** Messages at its head that came late, and before which nothing is on the way: they hide what of that is gone. */
  hiding: number;
  /** Acked while a fetch was under way: its answer may be older than the ack. Made when there is one. */
  ackedMeanwhile: Set<string> | undefined;
  emptySaid: boolean;
  /** Something was sent from it on this connection. */
  hasBegun: boolean;
  /** What is held back waits for the acks of everything else. */
  isHolding: boolean;
  lookedAtMs: number;
}

/** A message that was sent and not acked. */
export interface Sent {
  readonly id: string;
  /** Place of its mailbox. */
  readonly mailbox: number;
  readonly acceptedMs: number;
  readonly expiresMs: number;
  /** Its ack was taken and is not stored yet; another one says nothing new. */
  isAcked: boolean;
}

/** A mailbox from which nothing was read yet. */
export function readFromStart({ tag, publicKey }: OpenMailbox, nowMs: number): Mailbox {
  return {
    tag,
    publicKey: Buffer.from(publicKey).toString('base64url'),
    stale: true,
    changed: false,
    fetching: false,
    asked: 0,
    hiding: 0,
    ackedMeanwhile: undefined,
    emptySaid: false,
    hasBegun: false,
    isHolding: false,
    lookedAtMs: nowMs,
  };
}

/** Raw Ed25519, 32 bytes. */
export function publicKeyOf({ publicKey }: Mailbox): Uint8Array {
  return Buffer.from(publicKey, 'base64url');
}

/** Whether it is time to read it. */
export function mayBeFetched({ stale, fetching }: Mailbox): boolean {
  return stale && !fetching;
}

/** Something happened to it, so it is to be read again. */
export function markChanged(mailbox: Mailbox): void {
  mailbox.stale = true;
  mailbox.changed = true;
}

/** The order of a mailbox: by time, then by the bytes of the id. */
export function precedes(a: Pick<Sent, 'id' | 'acceptedMs'>, b: Pick<Sent, 'id' | 'acceptedMs'>): boolean {
  if (a.acceptedMs !== b.acceptedMs) return a.acceptedMs < b.acceptedMs;
  return Buffer.compare(Buffer.from(a.id, 'base64url'), Buffer.from(b.id, 'base64url')) < 0;
}
