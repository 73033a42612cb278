/**
 * The key of a mailbox as what signatures are verified with, and the tag that it is stored under. Both follow from the
 * public key; making them costs a third of verifying a signature, and a recipient acks again and again, so they are
 * remembered for a while.
 */
import { createPublicKey, type KeyObject } from 'node:crypto';
import { createRecent, type Recent } from '../../system/recent.ts';
import { asBuffer } from './bytes.ts';
import { type MailboxTag, mailboxIdOf, mailboxTagOf } from './mailbox.ts';

export interface KeyedMailbox {
  readonly key: KeyObject;
  readonly tag: MailboxTag;
}

/** A key of OpenSSL's takes about 2 KB. */
const REMEMBERED_MAX = 4096;
const ED25519_SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

/** By pepper, of which a process mostly has one; then by public key as Latin-1 text. */
const remembered = new WeakMap<Uint8Array, Recent<string, KeyedMailbox>>();

/** The mailbox of a raw Ed25519 public key of 32 bytes (RFC 8032), or undefined when it is none. */
export function mailboxOf(publicKey: Uint8Array, pepper: Uint8Array): KeyedMailbox | undefined {
  const known = remembered.get(pepper) ?? createRecent<string, KeyedMailbox>(REMEMBERED_MAX);
  remembered.set(pepper, known);
  const bytes = asBuffer(publicKey);
  const name = bytes.toString('latin1');
  const found = known.get(name);
  if (found !== undefined) return found;
  const key = importPublicKey(bytes);
  if (key === undefined) return undefined;
  const mailbox = { key, tag: mailboxTagOf(mailboxIdOf(bytes), pepper) };
  known.set(name, mailbox);
  return mailbox;
}

function importPublicKey(bytes: Uint8Array): KeyObject | undefined {
  try {
    return createPublicKey({
      key: Buffer.concat([ED25519_SPKI_PREFIX, bytes]),
      format: 'der',
      type: 'spki',
    });
  } catch {
    return undefined;
  }
}
