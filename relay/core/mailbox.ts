/**
 * Names of mailboxes: the id that the client knows, and the tag under which a relay stores.
 *
 * A mailbox id is the SHA-256 of the recipient's Ed25519 public key, so owning the key is owning the mailbox and
 * nothing has to be written to create one. A relay never stores the id: it stores the tag, a keyed hash under the
 * fleet's pepper, so a copy of a Redis tells nobody whose messages it holds.
 */
import { createHmac, hash } from 'node:crypto';

/** SHA-256 of the public key: 32 bytes as base64url, 43 characters. Never logged, never stored. */
export type MailboxId = string & { readonly brand: 'MailboxId' };

/**
 * Partition (two hex digits) and 16 bytes of HMAC-SHA256(pepper, id) as base64url: 24 characters. The partition is
 * the mailbox id mod 256 and decides the hash tag of every key; it is fixed for ever.
 */
export type MailboxTag = string & { readonly brand: 'MailboxTag' };

/** `00` to `ff`. */
export type Partition = string & { readonly brand: 'Partition' };

export const PARTITIONS: readonly Partition[] = Array.from(
  { length: 256 },
  (_, index) => index.toString(16).padStart(2, '0') as Partition,
);

/** The mailbox of a raw Ed25519 public key of 32 bytes. */
export function mailboxIdOf(publicKey: Uint8Array): MailboxId {
  return hash('sha256', publicKey, 'base64url') as MailboxId;
}

/** The partition, and 16 bytes of an HMAC-SHA-256 under the fleet's pepper (RFC 2104): what is stored instead of the id. */
export function mailboxTagOf(id: MailboxId, pepper: Uint8Array): MailboxTag {
  const raw = Buffer.from(id, 'base64url');
  const partition = PARTITIONS[raw[31] ?? 0] ?? '00';
  const keyed = createHmac('sha256', pepper).update('mailbox').update(raw).digest();
  return `${partition}${keyed.toString('base64url', 0, 16)}` as MailboxTag;
}

/** The partition of a mailbox, which is in its tag so that it need not be known otherwise. */
export function partitionOf(tag: MailboxTag): Partition {
  return tag.slice(0, 2) as Partition;
}

/** Undefined unless the text has the form of a tag. */
export function parseMailboxTag(text: string): MailboxTag | undefined {
  return /^[0-9a-f]{2}[A-Za-z0-9_-]{22}$/.test(text) ? (text as MailboxTag) : undefined;
}
