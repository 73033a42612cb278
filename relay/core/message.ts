/**
 * A message: opaque ciphertext plus the little that a relay may read, and the record in which it is stored and
 * sent to peers.
 *
 * A message is immutable and its id is derived from its content, so storing it twice is storing it once and
 * merging two sites is set union. The record ends in a checksum, because Redis loads a flipped byte without a
 * word; a damaged record counts as missing.
 */
import { createHmac } from 'node:crypto';
import { fail, ok, type Result } from '../../system/result.ts';
import { asBuffer, ByteReader, ByteWriter } from './bytes.ts';
import { type MailboxTag, parseMailboxTag } from './mailbox.ts';
import { shortHash, shortHashBytes } from './short-hash.ts';

/** 16 bytes as base64url, 22 characters. */
export type MessageId = string & { readonly brand: 'MessageId' };

/** RFC 8030 §5.3, least urgent first; stored as the index. */
export const URGENCIES = ['very-low', 'low', 'normal', 'high'] as const;
export type Urgency = (typeof URGENCIES)[number];

export interface MessageFields {
  readonly id: MessageId;
  readonly mailbox: MailboxTag;
  /** Wall clock of the accepting relay, milliseconds. Orders a mailbox approximately; promises nothing. */
  readonly acceptedMs: number;
  /** Wall clock, milliseconds; the same at every site. */
  readonly expiresMs: number;
  /** What only the opening of this message opens, 16 bytes as base64url; see `retraction.ts`. */
  readonly commitment: string;
  readonly urgency: Urgency;
  /** Keyed hash of the Topic (RFC 8030 §5.4), 16 bytes as base64url, or empty. */
  readonly topic: string;
  /** How the body is encrypted: the content coding `aes128gcm`, or a media type such as `message/mls`. */
  readonly coding: string;
  readonly body: Uint8Array;
}

export interface Message extends MessageFields {
  /** The whole message in stored form; see `encode`. */
  readonly record: Uint8Array;
}

/** The longest that any message may live, milliseconds: the bound of RELAY_TTL_SECONDS_MAX. */
export const TTL_MS_MAX: number = 30 * 24 * 3_600_000;
/**
 * How far ahead of ours the clock of another site may be and its longest-lived message still be believed, milliseconds.
 * A site that is off by half a minute serves nobody; and a tombstone outlives whatever is taken by as much again.
 */
export const FOREIGN_CLOCK_MS_MAX: number = 12 * 3_600_000;

export const CODING_BYTES_MAX = 64;
const RECORD_VERSION = 1;
const CHECKSUM_BYTES = 16;
const NO_CHECKSUM = Buffer.alloc(CHECKSUM_BYTES);
export const COMMITMENT_BYTES = 16;
/** Where a record's content begins, with the commitment: behind version, id, mailbox and the two times. */
export const CONTENT_AT: number = 1 + 16 + 24 + 8 + 8;

/** Of a record without topic, coding and body, bytes. */
const RECORD_BYTES: number = CONTENT_AT + COMMITMENT_BYTES + 1 + 1 + 1 + 4 + CHECKSUM_BYTES;

/** Makes a message and its record. */
export function createMessage(fields: MessageFields): Message {
  return { ...fields, record: encode(fields) };
}

/**
 * version u8 | id 16 | mailbox 24 ASCII | acceptedMs u64 | expiresMs u64 | commitment 16 | urgency u8 |
 * topic u8-length text | coding u8-length text | body u32-length | first 16 bytes of SHA-256 over everything before
 */
function encode(fields: MessageFields): Uint8Array {
  const { topic, coding, body } = fields;
  const record = new ByteWriter(RECORD_BYTES + topic.length + coding.length + body.length)
    .u8(RECORD_VERSION)
    .base64url(fields.id)
    .ascii(fields.mailbox)
    .u53(fields.acceptedMs)
    .u53(fields.expiresMs)
    .base64url(fields.commitment)
    .u8(URGENCIES.indexOf(fields.urgency))
    .shortText(topic)
    .shortText(coding)
    .block(body)
    .bytes(NO_CHECKSUM)
    .finish();
  const end = record.length - CHECKSUM_BYTES;
  record.write(shortHashBytes(record.subarray(0, end)), end, 'latin1');
  return record;
}

/** Whether two messages of one id carry the same, whenever they were sent and however long they live. */
export function isSameContent(a: Message, b: Message): boolean {
  const contentOf = ({ record }: Message): Uint8Array => record.subarray(CONTENT_AT, -CHECKSUM_BYTES);
  return Buffer.compare(contentOf(a), contentOf(b)) === 0;
}

/** Why a record is not used: it counts as missing, and a copy from another site replaces it. */
export type RecordFault = 'damaged' | 'unknown_version';

/** The inverse of `createMessage`; the body is a view on `record`. Never throws. */
export function openMessage(record: Uint8Array): Result<Message, RecordFault> {
  if (record.length < CHECKSUM_BYTES + 1) return fail('damaged');
  const bytes = asBuffer(record);
  const end = record.length - CHECKSUM_BYTES;
  const content = bytes.subarray(0, end);
  if (shortHashBytes(content) !== bytes.toString('latin1', end)) return fail('damaged');
  const reader = new ByteReader(content);
  if (reader.u8() !== RECORD_VERSION) return fail('unknown_version');
  const id = reader.base64url(16) as MessageId;
  const mailbox = parseMailboxTag(reader.latin1(24));
  const acceptedMs = reader.u53();
  const expiresMs = reader.u53();
  const commitment = reader.base64url(COMMITMENT_BYTES);
  const urgency = URGENCIES[reader.u8()];
  const topic = reader.shortText();
  const coding = reader.shortText();
  const body = reader.block();
  if (reader.malformed || mailbox === undefined || urgency === undefined) return fail('damaged');
  return ok({ id, mailbox, acceptedMs, expiresMs, commitment, urgency, topic, coding, body, record });
}

/** `lives_too_long`: no relay that keeps to the rules, with a clock that is halfway right, has accepted it. */
export type ForeignFault = RecordFault | 'lives_too_long';

/**
 * The same for a record that another site sent. Nobody signs when a message expires, so a site that is hostile, or whose
 * clock is years ahead, could fill the others with what never goes: beyond the longest life from `nowMs` on (wall clock,
 * milliseconds) it is not believed. It is not cut short either, for then every site would keep another message. Never throws.
 */
export function openForeignMessage(record: Uint8Array, nowMs: number): Result<Message, ForeignFault> {
  const opened = openMessage(record);
  if (opened.ok && opened.value.expiresMs > nowMs + TTL_MS_MAX + FOREIGN_CLOCK_MS_MAX) {
    return fail('lives_too_long');
  }
  return opened;
}

/**
 * The id of what a sender sent: the same capability with the same idempotency key, or without a key the same
 * coding and body, is the same message, at whichever relay of whichever provider it arrives.
 */
export function messageIdOf(content: {
  readonly capabilityId: Uint8Array;
  readonly idempotencyKey: string | undefined;
  readonly coding: string;
  readonly body: Uint8Array;
}): MessageId {
  const { capabilityId, idempotencyKey, coding, body } = content;
  const label = idempotencyKey === undefined ? `body\0${coding}\0` : `key\0${idempotencyKey}`;
  const said = new ByteWriter(capabilityId.length + label.length + body.length)
    .bytes(capabilityId)
    .ascii(label);
  if (idempotencyKey === undefined) said.bytes(body);
  return shortHash(said.finish()) as MessageId;
}

/** What is stored of a Topic, which is one push URL's own: enough to replace by, too little to read. */
export function topicTagOf(topic: string, capabilityId: Uint8Array, pepper: Uint8Array): string {
  if (topic === '') return '';
  return createHmac('sha256', pepper)
    .update('topic')
    .update(capabilityId)
    .update(topic)
    .digest()
    .toString('base64url', 0, 16);
}
