/**
 * Retractions: messages that their sender took back, or that a newer one of the same topic replaced. They are stored and
 * replicated as acknowledgements are, and are tombstones like them; but no recipient signs them.
 *
 * What proves one is an opening. It follows from the push URL and the message's id, so the sender, and a relay while it
 * serves a request through that push URL, can make it, and nobody else. Each message carries the hash of its opening, the
 * commitment; a site that only holds the message, however hostile, has nothing to delete it with elsewhere. A
 * retraction names a message by id and commitment together: one that opens nothing is a tombstone of no message.
 */
import { timingSafeEqual } from 'node:crypto';
import { fail, ok, type Result } from '../../system/result.ts';
import { ACK_IDS_MAX, type AckFault, type SignedAck } from './ack.ts';
import { ByteReader, ByteWriter } from './bytes.ts';
import { type MailboxTag, parseMailboxTag } from './mailbox.ts';
import { COMMITMENT_BYTES, type MessageId } from './message.ts';
import { shortHash } from './short-hash.ts';

export const RETRACTION_VERSION = 2;
export const OPENING_BYTES = 16;
const TAG_BYTES = 24;
const OPENING = 'archipelago opening v1\n';
const COMMITMENT = 'archipelago commitment v1\n';
const HASHED_BYTES = 64;
/** Where a retraction's record has its count (u16) and then its items, and the bytes of one. */
export const RETRACTION_COUNT_AT: number = 1 + TAG_BYTES + 8;
export const RETRACTION_ITEM_BYTES: number = 16 + COMMITMENT_BYTES + OPENING_BYTES;

/** A message and what proves the right to retract it, 16 bytes as base64url. */
export interface Opened {
  readonly id: MessageId;
  readonly opening: string;
}

/** What retracts the message `id` that was sent through the push URL with this 16-byte id. */
export function openingOf(capabilityId: Uint8Array, id: MessageId): string {
  return shortHash(new ByteWriter(HASHED_BYTES).ascii(OPENING).bytes(capabilityId).base64url(id).finish());
}

/** What a message carries: it tells the opening from every other and does not give it away. */
export function commitmentOf({ id, opening }: Opened): string {
  return shortHash(new ByteWriter(HASHED_BYTES).ascii(COMMITMENT).base64url(id).base64url(opening).finish());
}

/**
 * Makes the record: version u8 | mailbox 24 | expiresMs u64 | count u16 | count × (id 16 | commitment 16 | opening 16).
 * At most 512 messages, at least one.
 */
export function createRetraction(
  mailbox: MailboxTag,
  messages: readonly Opened[],
  expiresMs: number,
): SignedAck {
  const commitments = messages.map(commitmentOf);
  const items = new ByteWriter();
  for (const [place, { id, opening }] of messages.entries()) {
    items
      .base64url(id)
      .base64url(commitments[place] ?? '')
      .base64url(opening);
  }
  const itemBytes = items.finish();
  const record = new ByteWriter()
    .u8(RETRACTION_VERSION)
    .bytes(Buffer.from(mailbox, 'latin1'))
    .u53(expiresMs)
    .u16(messages.length)
    .bytes(itemBytes)
    .finish();
  const id = shortHash(new ByteWriter().ascii(`retraction${mailbox}`).bytes(itemBytes).finish());
  return { id, mailbox, ids: messages.map((message) => message.id), commitments, expiresMs, record };
}

/** The inverse; every opening is checked against the commitment beside it. Never throws. */
export function openRetraction(record: Uint8Array): Result<SignedAck, AckFault> {
  const reader = new ByteReader(record);
  const version = reader.u8();
  const mailbox = parseMailboxTag(reader.bytes(TAG_BYTES).toString('latin1'));
  const expiresMs = reader.u53();
  const count = reader.u16();
  const itemBytes = reader.bytes(count * RETRACTION_ITEM_BYTES);
  const fits = !reader.malformed && version === RETRACTION_VERSION && count >= 1 && count <= ACK_IDS_MAX;
  if (!fits || mailbox === undefined) return fail('malformed');
  const items = new ByteReader(itemBytes);
  const messages: Opened[] = [];
  for (let place = 0; place < count; place += 1) {
    const id = items.base64url(16) as MessageId;
    const commitment = items.bytes(COMMITMENT_BYTES);
    const opened = { id, opening: items.base64url(OPENING_BYTES) };
    if (!timingSafeEqual(Buffer.from(commitmentOf(opened), 'base64url'), commitment)) {
      return fail('bad_signature');
    }
    messages.push(opened);
  }
  return ok(createRetraction(mailbox, messages, expiresMs));
}
