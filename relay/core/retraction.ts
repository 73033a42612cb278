/**
 * Retractions: a message that its sender took back, or that a newer one of the same topic replaced. They are stored
 * and replicated as acknowledgements are, and are tombstones like them; but no recipient signs them.
 *
 * What proves one is a keyed hash under the fleet's pepper. A relay makes it only for whoever shows the sealed address of the
 * message, and any relay can check it whichever capability keys have come and gone since. Sites trust each other
 * this far: each has the pepper, as each has the keys that seal addresses.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { fail, ok, type Result } from '../../system/result.ts';
import { ACK_IDS_MAX, type AckFault, PUBLIC_KEY_BYTES, SIGNATURE_BYTES, type SignedAck } from './ack.ts';
import { ByteReader, ByteWriter } from './bytes.ts';
import { type MailboxTag, parseMailboxTag } from './mailbox.ts';
import type { MessageId } from './message.ts';

export const RETRACTION_VERSION = 2;
const TAG_BYTES = 24;
const PROOF_BYTES = 32;
/** The scripts of the Redis store find count and ids at one place, whatever a record proves them by. */
const FILLER: Buffer = Buffer.alloc(PUBLIC_KEY_BYTES + SIGNATURE_BYTES - TAG_BYTES - PROOF_BYTES);

/**
 * Makes the record: version u8 | mailbox 24 | proof 32 | zeros 40 | expiresMs u64 | count u16 | count × id 16. At most
 * 512 ids, at least one.
 */
export function createRetraction(
  mailbox: MailboxTag,
  ids: readonly MessageId[],
  expiresMs: number,
  pepper: Uint8Array,
): SignedAck {
  const idBytes = Buffer.concat(ids.map((id) => Buffer.from(id, 'base64url')));
  const record = new ByteWriter()
    .u8(RETRACTION_VERSION)
    .bytes(Buffer.from(mailbox, 'latin1'))
    .bytes(proofOf(mailbox, idBytes, pepper))
    .bytes(FILLER)
    .u53(expiresMs)
    .u16(ids.length)
    .bytes(idBytes)
    .finish();
  const id = createHash('sha256').update('retraction').update(mailbox).update(idBytes).digest();
  return { id: id.toString('base64url', 0, 16), mailbox, ids, expiresMs, record };
}

/** The inverse; the proof is checked. Never throws. */
export function openRetraction(record: Uint8Array, pepper: Uint8Array): Result<SignedAck, AckFault> {
  const reader = new ByteReader(record);
  const version = reader.u8();
  const mailbox = parseMailboxTag(reader.bytes(TAG_BYTES).toString('latin1'));
  const proof = reader.bytes(PROOF_BYTES);
  const filler = reader.bytes(FILLER.length);
  const expiresMs = reader.u53();
  const count = reader.u16();
  const idBytes = reader.bytes(count * 16);
  const fits = !reader.malformed && version === RETRACTION_VERSION && filler.equals(FILLER);
  if (!fits || mailbox === undefined || count < 1 || count > ACK_IDS_MAX) return fail('malformed');
  if (!timingSafeEqual(proof, proofOf(mailbox, idBytes, pepper))) return fail('bad_signature');
  const ids = Array.from({ length: count }, (_, index) =>
    idBytes.toString('base64url', index * 16, index * 16 + 16),
  ) as MessageId[];
  return ok(createRetraction(mailbox, ids, expiresMs, pepper));
}

function proofOf(mailbox: MailboxTag, idBytes: Uint8Array, pepper: Uint8Array): Buffer {
  return createHmac('sha256', pepper).update('retraction').update(mailbox).update(idBytes).digest();
}
