/**
 * Every way a relay refuses a request, with its status: the one table that answers, metrics and
 * docs/protocol.md share.
 *
 * A 4xx is final for real senders (many delete the subscription on one), so it is given only where the request
 * itself is wrong and would be wrong at every relay. Every uncertainty is a 503 with Retry-After. The 4xx that
 * senders do not take as final are 429, which is for what is only too fast or too much, and 408.
 */
export interface RefusalKind {
  readonly status: 400 | 401 | 403 | 404 | 405 | 408 | 410 | 413 | 415 | 426 | 429 | 431 | 503;
  /** What is wrong and how to mend it, for the sender's developer. */
  readonly title: string;
  /** Seconds; present on every 429 and 503. */
  readonly retryAfterSeconds?: number;
}

export type Refusal =
  | 'ttl_missing'
  | 'ttl_malformed'
  | 'urgency_unknown'
  | 'topic_malformed'
  | 'idempotency_key_malformed'
  | 'idempotency_key_missing'
  | 'header_repeated'
  | 'host_ambiguous'
  | 'request_unreadable'
  | 'request_too_slow'
  | 'headers_too_large'
  | 'body_incomplete'
  | 'request_malformed'
  | 'mailbox_token_invalid'
  | 'operator_token_invalid'
  | 'ack_signature_invalid'
  | 'vapid_missing'
  | 'vapid_malformed'
  | 'vapid_key_wrong'
  | 'vapid_audience_wrong'
  | 'vapid_expired'
  | 'vapid_signature_wrong'
  | 'capability_unknown'
  | 'revocation_not_signed'
  | 'capability_revoked'
  | 'message_address_unknown'
  | 'not_found'
  | 'method_not_allowed'
  | 'upgrade_required'
  | 'body_too_large'
  | 'not_encrypted'
  | 'copies_unreachable'
  | 'store_unavailable'
  | 'capability_key_unknown'
  | 'capability_too_fast'
  | 'mailbox_too_fast'
  | 'mailbox_full'
  | 'operator_token_too_fast'
  | 'mailbox_token_too_fast'
  | 'failures_too_fast'
  | 'acks_too_fast'
  | 'memory_short'
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
  idempotency_key_missing: {
    status: 400,
    title: 'Send an Idempotency-Key with this type: its bytes do not tell two messages apart.',
  },
  header_repeated: {
    status: 400,
    title: 'Send each header that the protocol names once.',
  },
  host_ambiguous: { status: 400, title: 'Send one Host header, and no other host in the target.' },
  request_unreadable: {
    status: 400,
    title: 'Send what RFC 9112 (HTTP) or RFC 6455 (WebSocket) calls a request.',
  },
  request_too_slow: { status: 408, title: 'Send the headers within 10 s and all of a request within 15 s.' },
  headers_too_large: { status: 431, title: 'Send headers of 8 KiB at most, all of them together.' },
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
  ack_signature_invalid: {
    status: 401,
    title: 'Sign the ids with the mailbox key, as the protocol describes.',
  },
  vapid_missing: {
    status: 401,
    title: 'This push URL was made for one sender: send Authorization: vapid (RFC 8292).',
  },
  vapid_malformed: {
    status: 403,
    title: 'Send Authorization: vapid t=<JWT with alg ES256, aud and exp>, k=<public key> (RFC 8292).',
  },
  vapid_key_wrong: { status: 403, title: "This push URL was made for another sender's VAPID key." },
  vapid_audience_wrong: {
    status: 403,
    title: 'Make the aud of the VAPID token the origin of the push URL.',
  },
  vapid_expired: {
    status: 403,
    title: 'Let the exp of the VAPID token lie ahead, and at most 24 hours.',
  },
  vapid_signature_wrong: {
    status: 403,
    title: 'The VAPID token is not signed by the key that came with it.',
  },
  capability_unknown: {
    status: 404,
    title: 'This push URL was not made by this fleet, was damaged, or has expired.',
  },
  revocation_not_signed: {
    status: 403,
    title: 'Sign the revocation with the key of the mailbox that the push URL leads to.',
  },
  capability_revoked: { status: 410, title: 'The recipient has revoked this push URL.' },
  message_address_unknown: {
    status: 404,
    title: 'This address of a message was not made by this fleet, or was damaged.',
  },
  not_found: { status: 404, title: 'There is nothing at this address.' },
  method_not_allowed: { status: 405, title: 'Ask here with a method that Allow names.' },
  upgrade_required: { status: 426, title: 'Connect here with a WebSocket, or receive by long-poll.' },
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
  store_unavailable: {
    status: 503,
    title: 'The store of this site did not confirm; try again or at another site.',
    retryAfterSeconds: 1,
  },
  capability_key_unknown: {
    status: 503,
    title: 'This relay cannot read this push URL yet; try again or at another site.',
    retryAfterSeconds: 5,
  },
  capability_too_fast: {
    status: 429,
    title: 'Too many messages through this push URL at once; send this one again later.',
    retryAfterSeconds: 2,
  },
  mailbox_too_fast: {
    status: 429,
    title: 'Too many messages for this recipient at once; send this one again later.',
    retryAfterSeconds: 2,
  },
  mailbox_full: {
    status: 429,
    title: 'This mailbox is full until its owner reads it; send this message again later.',
    retryAfterSeconds: 60,
  },
  operator_token_too_fast: {
    status: 429,
    title: "Too many push URLs with this operator's token at once; ask again later.",
    retryAfterSeconds: 2,
  },
  mailbox_token_too_fast: {
    status: 429,
    title: 'Too many requests of this mailbox at once; ask again later, or keep one WebSocket open.',
    retryAfterSeconds: 2,
  },
  failures_too_fast: {
    status: 429,
    title: 'This push URL or token was refused too often just now; do not repeat what was refused.',
    retryAfterSeconds: 10,
  },
  acks_too_fast: {
    status: 429,
    title: 'Too many acks of messages that this site does not know; ack where the message came from.',
    retryAfterSeconds: 10,
  },
  memory_short: {
    status: 503,
    title: 'This site is short of memory and keeps what is left for urgent messages; try another site.',
    retryAfterSeconds: 30,
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
