/**
 * What can go wrong with a client, each with a name of its own. No message or field of these errors carries a push
 * URL, a mailbox id or a message id, so they may be logged as they are.
 */
import type { Ciphertext } from './ciphertext.ts';

export type TransportFault =
  | 'unresolved'
  | 'unreachable'
  | 'timeout'
  | 'broken'
  | 'response_too_large'
  | 'origin_not_allowed';

/** A request got no answer. */
export class TransportError extends Error {
  override readonly name = 'TransportError';
  readonly fault: TransportFault;
  /** False only when it is certain that the request never left. */
  readonly mayHaveArrived: boolean;

  constructor(fault: TransportFault, mayHaveArrived: boolean, options?: ErrorOptions) {
    super(fault, options);
    this.fault = fault;
    this.mayHaveArrived = mayHaveArrived;
  }
}

/** A relay said no for good; the same request will not do better elsewhere. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError';
  readonly status: number;
  /** The code of docs/protocol.md, or an empty text when the answer had none. */
  readonly code: string;

  constructor(status: number, code: string) {
    super(`refused: ${status} ${code}`.trimEnd());
    this.status = status;
    this.code = code;
  }
}

/** A relay cannot do it now; another one may, and this one later. */
export class UnavailableError extends Error {
  override readonly name = 'UnavailableError';
  readonly status: number;
  /** The code of docs/protocol.md, or an empty text when the answer had none. */
  readonly code: string;
  /** What the relay asks for, milliseconds; 0 when it did not say. */
  readonly retryAfterMs: number;

  constructor(status: number, code: string, retryAfterMs: number) {
    super(`not now: ${status} ${code}`.trimEnd());
    this.status = status;
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

/** No provider accepted within the time that the caller allowed. */
export class UnreachableError extends Error {
  override readonly name = 'UnreachableError';
  /**
   * True when some attempt ended without an answer: the message may have been accepted all the same. Sending
   * `content` again is safe, it is the same message.
   */
  readonly unknown: boolean;
  readonly attempts: number;
  /**
   * How each attempt ended: a `TransportFault`, a status such as `503 overloaded`, or `unanswered`; just
   * `retry_after` when every provider had asked earlier messages for more patience than this one had time.
   */
  readonly reasons: readonly string[];
  readonly content: Ciphertext;

  constructor(outcome: Pick<UnreachableError, 'unknown' | 'attempts' | 'reasons' | 'content'>) {
    super(`not accepted by any provider: ${outcome.reasons.join(', ')}`);
    this.unknown = outcome.unknown;
    this.attempts = outcome.attempts;
    this.reasons = outcome.reasons;
    this.content = outcome.content;
  }
}

export type DecryptionFault = 'malformed' | 'not_authentic' | 'badly_padded';

/** A body is not an RFC 8291 message to this recipient, or was changed on the way. */
export class DecryptionError extends Error {
  override readonly name = 'DecryptionError';
  readonly fault: DecryptionFault;

  constructor(fault: DecryptionFault, options?: ErrorOptions) {
    super(fault, options);
    this.fault = fault;
  }
}

export type UsageFault =
  | 'push_url_malformed'
  | 'location_malformed'
  | 'vapid_key_malformed'
  | 'vapid_subject_malformed'
  | 'recipient_keys_malformed'
  | 'mailbox_malformed'
  | 'plaintext_too_large'
  | 'options_out_of_range'
  | 'already_receiving';

/** The caller asked for something that cannot be; nothing was sent. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  readonly fault: UsageFault;

  constructor(fault: UsageFault, options?: ErrorOptions) {
    super(fault, options);
    this.fault = fault;
  }
}

/** A relay answered with something that is not in docs/protocol.md. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
}
