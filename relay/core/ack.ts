/**
 * Signed acknowledgements: the recipient's word, under its mailbox key, that it has these messages.
 *
 * The signed batch itself is what is stored and what replicates, so every site verifies it and no site can delete
 * in another's name. Once stored it is the tombstone of each message it names, and it outlives them.
 */
import { verify } from 'node:crypto';
import { fail, ok, type Result } from '../../system/result.ts';
import { ByteReader, ByteWriter } from './bytes.ts';
import type { MailboxTag } from './mailbox.ts';
import { mailboxOf } from './mailbox-key.ts';
import type { MessageId } from './message.ts';
import { shortHash } from './short-hash.ts';

export interface SignedAck {
  /** First 16 bytes of SHA-256 over public key and signed content, base64url. */
  readonly id: string;
  readonly mailbox: MailboxTag;
  readonly ids: readonly MessageId[];
  /** Of a retraction (`retraction.ts`), what each message must carry to be meant; an ack means whatever has the id. */
  readonly commitments: readonly string[] | undefined;
  /**
   * Wall clock, milliseconds: how long the accepting relay asked for it to be remembered. Not signed by the
   * recipient; a store remembers it at least as long as any message it names.
   */
  readonly expiresMs: number;
  /** The whole acknowledgement in stored form; see `createAck`. */
  readonly record: Uint8Array;
}

export const ACK_IDS_MAX = 512;
export const PUBLIC_KEY_BYTES = 32;
export const SIGNATURE_BYTES = 64;
/** Of a record without its ids. */
const ACK_BYTES: number = 1 + PUBLIC_KEY_BYTES + SIGNATURE_BYTES + 8 + 2;
/** A tombstone outlives its message by this much, milliseconds: clock skew and slow replays. */
export const TOMBSTONE_SLACK_MS: number = 24 * 3_600_000;

/**
 * What a mailbox key signs for: that messages were received, or that push URLs are revoked (`revocation.ts`). The first
 * line of what is signed keeps them apart, and so does the version of the record.
 */
type Word = 'ack' | 'revocation';
const WORDS: Readonly<Record<Word, { readonly line: Buffer; readonly version: number }>> = {
  ack: { line: Buffer.from('archipelago ack v1\n', 'latin1'), version: 1 },
  revocation: { line: Buffer.from('archipelago revoke v1\n', 'latin1'), version: 3 },
};

export type AckFault = 'malformed' | 'bad_signature';

/**
 * Verifies an acknowledgement, or a revocation, as it came from a recipient and makes its record:
 * version u8 | public key 32 | signature 64 | expiresMs u64 | count u16 | count × id 16.
 */
export function createAck(
  publicKey: Uint8Array,
  signature: Uint8Array,
  idBytes: Uint8Array,
  expiresMs: number,
  pepper: Uint8Array,
  word: Word = 'ack',
): Result<SignedAck, AckFault> {
  const { line, version } = WORDS[word];
  const count = idBytes.length / 16;
  if (!Number.isInteger(count) || count < 1 || count > ACK_IDS_MAX) return fail('malformed');
  if (publicKey.length !== PUBLIC_KEY_BYTES || signature.length !== SIGNATURE_BYTES) return fail('malformed');
  const mailbox = mailboxOf(publicKey, pepper);
  if (mailbox === undefined) return fail('malformed');
  if (!verify(null, Buffer.concat([line, idBytes]), mailbox.key, signature)) return fail('bad_signature');
  const reader = new ByteReader(idBytes);
  const ids = Array.from({ length: count }, () => reader.base64url(16) as MessageId);
  const record = new ByteWriter(ACK_BYTES + idBytes.length)
    .u8(version)
    .bytes(publicKey)
    .bytes(signature)
    .u53(expiresMs)
    .u16(count)
    .bytes(idBytes)
    .finish();
  const named = word === 'revocation' ? [publicKey, idBytes, line] : [publicKey, idBytes];
  const id = shortHash(Buffer.concat(named));
  return ok({ id, mailbox: mailbox.tag, ids, commitments: undefined, expiresMs, record });
}

/** The inverse, for records from a store or a peer: the signature is verified again. Never throws. */
export function openAck(record: Uint8Array, pepper: Uint8Array): Result<SignedAck, AckFault> {
  const reader = new ByteReader(record);
  const version = reader.u8();
  const word = (['ack', 'revocation'] as const).find((known) => WORDS[known].version === version);
  if (word === undefined) return fail('malformed');
  const publicKey = reader.bytes(PUBLIC_KEY_BYTES);
  const signature = reader.bytes(SIGNATURE_BYTES);
  const expiresMs = reader.u53();
  const idBytes = reader.bytes(reader.u16() * 16);
  if (reader.malformed) return fail('malformed');
  return createAck(publicKey, signature, idBytes, expiresMs, pepper, word);
}

/** Whether a record is of a revocation, which may have to be remembered for ever. */
export function isRevocation(record: Uint8Array): boolean {
  return record[0] === WORDS.revocation.version;
}
