/**
 * The headers of a push request (RFC 8030 §5), parsed whole or refused by name.
 */
import { fail, ok, type Result } from '../../system/result.ts';
import { MLS, NOTHING } from './ciphertext.ts';
import { CODING_BYTES_MAX, URGENCIES, type Urgency } from './message.ts';
import type { Refusal } from './refusal.ts';

/** Header names in lower case, each with every value it was given. */
export type HeaderValues = Readonly<Record<string, readonly string[] | undefined>>;

export interface PushRequest {
  /** Seconds, already clamped to the relay's maximum (RFC 8030 §5.2). */
  readonly ttlSeconds: number;
  readonly urgency: Urgency;
  /** Empty when there is none. */
  readonly topic: string;
  readonly idempotencyKey: string | undefined;
  /** `aes128gcm`, an allowed media type, or `NOTHING`: whether the body fits it is `isPlausible`'s to say. */
  readonly coding: string;
  /** As it was sent. */
  readonly authorization: string | undefined;
}

export interface PushLimits {
  readonly ttlSecondsMax: number;
  /** Media types, lower case, that are ciphertext by themselves, such as `message/mls`. */
  readonly ciphertextTypes: readonly string[];
}

/** Headers that may be given once (lower case). */
export const SINGLE_HEADERS = [
  'ttl',
  'urgency',
  'topic',
  'idempotency-key',
  'content-encoding',
  'content-type',
  'authorization',
] as const;

/**
 * Codings whose bytes differ from message to message, so that the same bytes are the same message. Of another type
 * nobody knows: two messages that are equal by chance would be one, and the second lost.
 */
const SAYS_ITSELF_APART: readonly string[] = ['aes128gcm', MLS, NOTHING];

/** All of a push request that its headers say, or the first fault. */
export function parsePushRequest(headers: HeaderValues, limits: PushLimits): Result<PushRequest, Refusal> {
  for (const name of SINGLE_HEADERS) {
    if ((headers[name]?.length ?? 0) > 1) return fail('header_repeated');
  }
  const only = (name: (typeof SINGLE_HEADERS)[number]): string | undefined => headers[name]?.[0]?.trim();

  const ttl = only('ttl');
  if (ttl === undefined) return fail('ttl_missing');
  if (!/^\d+$/.test(ttl)) return fail('ttl_malformed');

  const urgencyText = only('urgency')?.toLowerCase() ?? 'normal';
  const urgency = URGENCIES.find((known) => known === urgencyText);
  if (urgency === undefined) return fail('urgency_unknown');

  const topic = only('topic');
  if (topic !== undefined && !/^[A-Za-z0-9_-]{1,32}$/.test(topic)) return fail('topic_malformed');

  const idempotencyKey = only('idempotency-key');
  if (idempotencyKey !== undefined && !/^[\x21-\x7e]{1,64}$/.test(idempotencyKey)) {
    return fail('idempotency_key_malformed');
  }

  const coding = codingOf(only('content-encoding'), only('content-type'), limits);
  if (coding === undefined) return fail('not_encrypted');
  if (idempotencyKey === undefined && !SAYS_ITSELF_APART.includes(coding)) {
    return fail('idempotency_key_missing');
  }
  return ok({
    ttlSeconds: Math.min(Number(ttl), limits.ttlSecondsMax),
    urgency,
    topic: topic ?? '',
    idempotencyKey,
    coding,
    authorization: only('authorization'),
  });
}

function codingOf(
  encoding: string | undefined,
  type: string | undefined,
  limits: PushLimits,
): string | undefined {
  if (encoding !== undefined) return encoding.toLowerCase() === 'aes128gcm' ? 'aes128gcm' : undefined;
  const essence = type?.split(';')[0]?.trim().toLowerCase() ?? '';
  return essence.length <= CODING_BYTES_MAX && limits.ciphertextTypes.includes(essence) ? essence : NOTHING;
}
