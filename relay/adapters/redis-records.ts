/**
 * What the Redis store keeps, as bytes: names of keys and members, and records that are verified when they are
 * read. The layout is described in `redis-scripts.ts`.
 */
import { createHash } from 'node:crypto';
import type { SiteName } from '../../fleet/manifest/manifest.ts';
import { PUBLIC_KEY_BYTES, SIGNATURE_BYTES, type SignedAck } from '../core/ack.ts';
import { type Partition, parseMailboxTag } from '../core/mailbox.ts';
import { COMMITMENT_BYTES, type Message, openMessage } from '../core/message.ts';
import type { Reference } from '../core/reference.ts';
import { RETRACTION_COUNT_AT, RETRACTION_ITEM_BYTES, RETRACTION_VERSION } from '../core/retraction.ts';
import { openTombstone } from '../core/tombstone.ts';
import type { Epoch } from '../ports.ts';

/** Characters of a mailbox tag. */
export const TAG_LENGTH = 24;
const SEAL_BYTES = 8;
/** Where an ack's record has its count; see `createAck`. */
const ACK_COUNT_AT = 1 + PUBLIC_KEY_BYTES + SIGNATURE_BYTES + 8;

/** The sorted set of what is owed to `site` in one partition. */
export function outboxKey(partition: Partition, site: SiteName): string {
  return `o:{${partition}}:${site}`;
}

/** The inverse of `member`; what is no member is left out. */
export function readMembers(members: readonly unknown[]): readonly Reference[] {
  const references: Reference[] = [];
  for (const raw of members) {
    if (!Buffer.isBuffer(raw)) continue;
    const kind = raw.toString('latin1', 0, 1) === 'm' ? 'message' : 'ack';
    const mailbox = parseMailboxTag(raw.toString('latin1', 1, 1 + TAG_LENGTH));
    if (mailbox !== undefined)
      references.push({ kind, mailbox, id: raw.toString('base64url', 1 + TAG_LENGTH) });
  }
  return references;
}

/** An id as its 16 bytes, the form in which Redis has it. */
export function rawId(id: string): Buffer {
  return Buffer.from(id, 'base64url');
}

/** The items of an array reply; none when the reply is something else. */
export function listOf(reply: unknown): readonly unknown[] {
  return Array.isArray(reply) ? reply : [];
}

/** The message of a record, or undefined when the record is damaged or belongs to another message. */
export function readMessage(reference: Reference, record: Buffer): Message | undefined {
  const opened = openMessage(record);
  if (!opened.ok || opened.value.id !== reference.id || opened.value.mailbox !== reference.mailbox) {
    return undefined;
  }
  return opened.value;
}

/** The ack of a sealed record, its signature verified again; undefined when damaged or another. */
export function readAck(reference: Reference, sealed: Buffer, pepper: Uint8Array): SignedAck | undefined {
  const record = unseal(sealed);
  const opened = record === undefined ? undefined : openTombstone(record, pepper);
  if (opened?.ok !== true || opened.value.id !== reference.id || opened.value.mailbox !== reference.mailbox) {
    return undefined;
  }
  return opened.value;
}

/** The names of what a sealed tombstone is the tombstone of, raw, as `redis-scripts.ts` reads them. */
export function namesIn(sealed: Buffer): readonly Buffer[] {
  const isRetraction = sealed[0] === RETRACTION_VERSION;
  const at = isRetraction ? RETRACTION_COUNT_AT : ACK_COUNT_AT;
  const [step, size] = isRetraction ? [RETRACTION_ITEM_BYTES, 16 + COMMITMENT_BYTES] : [16, 16];
  return Array.from({ length: sealed.readUInt16BE(at) }, (_, index) =>
    sealed.subarray(at + 2 + index * step, at + 2 + index * step + size),
  );
}

/** An ack's signature does not cover its expiry, so it is stored with a checksum behind it. */
export function seal(record: Uint8Array): Buffer {
  return Buffer.concat([record, sealOf(record)]);
}

/** The record behind a seal, or undefined when it does not verify. */
export function unseal(sealed: Buffer): Buffer | undefined {
  if (sealed.length <= SEAL_BYTES) return undefined;
  const record = sealed.subarray(0, sealed.length - SEAL_BYTES);
  return sealOf(record).equals(sealed.subarray(record.length)) ? record : undefined;
}

function sealOf(record: Uint8Array): Buffer {
  return createHash('sha256').update(record).digest().subarray(0, SEAL_BYTES);
}

/** The epoch in the reply to its GET; undefined when there is none or it cannot be read. */
export function readEpoch(reply: unknown): Epoch | undefined {
  if (!Buffer.isBuffer(reply)) return undefined;
  try {
    const value: unknown = JSON.parse(reply.toString('utf8'));
    if (typeof value !== 'object' || value === null || !('id' in value) || !('refilledFrom' in value)) {
      return undefined;
    }
    const { id, refilledFrom } = value;
    if (typeof id !== 'string' || !Array.isArray(refilledFrom)) return undefined;
    const seenMs = 'seenMs' in value && typeof value.seenMs === 'number' ? value.seenMs : 0;
    return { id, refilledFrom: refilledFrom.filter((site) => typeof site === 'string'), seenMs };
  } catch {
    // A damaged epoch is none: the site then refills itself, which is always safe.
    return undefined;
  }
}
