/**
 * Every way a relay refuses a request, with its status: the one table that answers, metrics and
 * docs/protocol.md share.
 *
 * A 4xx is final for real senders (many delete the subscription on one), so it is given only where the request
 * itself is wrong and would be wrong at every relay. Every uncertainty is a 503 with Retry-After.
 */
export interface RefusalKind {
  readonly status: 400 | 401 | 404 | 413 | 415 | 503;
  /** What is wrong and how to mend it, for the sender's developer. */
  readonly title: string;
  /** Seconds; present on every 503. */
  readonly retryAfterSeconds?: number;
}

export type Refusal =
  | 'ttl_missing'
  | 'ttl_malformed'
  | 'urgency_unknown'
  | 'topic_malformed'
  | 'idempotency_key_malformed'
  | 'header_repeated'
  | 'body_incomplete'
  | 'request_malformed'
  | 'mailbox_token_invalid'
  | 'operator_token_invalid'
  | 'capability_unknown'
  | 'not_found'
  | 'body_too_large'
  | 'not_encrypted'
  | 'copies_unreachable'
  | 'capability_key_unknown'
  | 'overloaded'
  | 'draining'
  | 'internal_error';

export const REFUSALS: Readonly<Record<Refusal, RefusalKind>> = {
  ttl_missing: { status: 400, title: 'Send a TTL header with the seconds the message may wait.' },
  ttl_malformed: { status: 400, title: 'Send TTL as decimal seconds, digits only.' },
  urgency_unknown: { status: 400, title: 'Send Urgency as very-low, low, normal or high.' },
  topic_malformed: { status: 400, title: 'Send Topic as 1 to 32 characters of A-Z a-z 0-9 - _.' },
  idempotency_key_malformed: {
    status: 400,
    title: 'Send Idempotency-Key as 1 to 64 printable ASCII characters.',
  },
  header_repeated: {
    status: 400,
    title: 'Send TTL, Urgency, Topic, Idempotency-Key and Content-Encoding once each.',
  },
  body_incomplete: { status: 400, title: 'The body ended early; send it again.' },
  request_malformed: { status: 400, title: 'Send the JSON object that the protocol describes.' },
  mailbox_token_invalid: {
    status: 401,
    title: 'Sign a mailbox token for the audience of this site that expires within 300 seconds.',
  },
  operator_token_invalid: {
    status: 401,
    title: "Send an operator's token as Authorization: Bearer; this relay does not mint without one.",
  },
  capability_unknown: {
    status: 404,
    title: 'This push URL was not made by this fleet, was damaged, or has expired.',
  },
  not_found: { status: 404, title: 'There is nothing at this address.' },
  body_too_large: { status: 413, title: 'Send a smaller body; /v1/info says how large it may be.' },
  not_encrypted: {
    status: 415,
    title: 'Encrypt the body: Content-Encoding aes128gcm (RFC 8291) or an allowed type of ciphertext.',
  },
  copies_unreachable: {
    status: 503,
    title: 'Too few providers confirmed a copy in time; send the same bytes again.',
    retryAfterSeconds: 1,
  },
  capability_key_unknown: {
    status: 503,
    title: 'This relay cannot read this push URL yet; try again or at another site.',
    retryAfterSeconds: 5,
  },
  overloaded: {
    status: 503,
    title: 'This relay has too much to do; try another site.',
    retryAfterSeconds: 2,
  },
  internal_error: {
    status: 503,
    title: 'This relay failed in a way nobody foresaw; try another site.',
    retryAfterSeconds: 5,
  },
  draining: { status: 503, title: 'This relay is shutting down; try another site.', retryAfterSeconds: 1 },
};

export const REFUSAL_NAMES: readonly Refusal[] = Object.keys(REFUSALS) as Refusal[];
