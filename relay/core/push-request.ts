/**
 * The headers of a push request (RFC 8030 §5), parsed whole or refused by name.
 */
import { fail, ok, type Result } from '../../system/result.ts';
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
  readonly coding: string;
}

export interface PushLimits {
  readonly ttlSecondsMax: number;
  /** Media types, lower case, that are ciphertext by themselves, such as `message/mls`. */
  readonly ciphertextTypes: readonly string[];
}

const SINGLE = ['ttl', 'urgency', 'topic', 'idempotency-key', 'content-encoding', 'content-type'] as const;

export function parsePushRequest(headers: HeaderValues, limits: PushLimits): Result<PushRequest, Refusal> {
  for (const name of SINGLE) {
    if ((headers[name]?.length ?? 0) > 1) return fail('header_repeated');
  }
  const only = (name: (typeof SINGLE)[number]): string | undefined => headers[name]?.[0]?.trim();

  const ttl = only('ttl');
  if (ttl === undefined) return fail('ttl_missing');
  if (!/^\d{1,20}$/.test(ttl)) return fail('ttl_malformed');

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
  return ok({
    ttlSeconds: Math.min(Number(ttl), limits.ttlSecondsMax),
    urgency,
    topic: topic ?? '',
    idempotencyKey,
    coding,
  });
}

function codingOf(
  encoding: string | undefined,
  type: string | undefined,
  limits: PushLimits,
): string | undefined {
  if (encoding !== undefined) return encoding.toLowerCase() === 'aes128gcm' ? 'aes128gcm' : undefined;
  const essence = type?.split(';')[0]?.trim().toLowerCase() ?? '';
  return essence.length <= CODING_BYTES_MAX && limits.ciphertextTypes.includes(essence) ? essence : undefined;
}
