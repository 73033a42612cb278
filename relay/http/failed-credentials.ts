/**
 * Which refusals say that a push URL, an address or a token was no good, and what of a request is counted for them
 * (`failures.ts`).
 */
import type { IncomingMessage } from 'node:http';
import type { Refusal } from '../core/refusal.ts';
import type { Failures } from '../failures.ts';

const FAILED: readonly Refusal[] = [
  'capability_unknown',
  'message_address_unknown',
  'vapid_missing',
  'vapid_malformed',
  'vapid_key_wrong',
  'vapid_audience_wrong',
  'vapid_expired',
  'vapid_signature_wrong',
  'operator_token_invalid',
  'mailbox_token_invalid',
  'ack_signature_invalid',
  'revocation_not_signed',
];

/** The refusal of a request whose credential, or whose address, has failed too often. */
export function failedBefore(request: IncomingMessage, failures: Failures): Refusal | undefined {
  const { remoteAddress } = request.socket;
  if (failures.isHopeless(remoteAddress, credentialOf(request))) return 'failures_too_fast';
  return failures.isUnwelcome(remoteAddress) ? 'overloaded' : undefined;
}

/** Counts the refusal of a request, if it is one of its credential. */
export function noteFailure(request: IncomingMessage, refusal: Refusal, failures: Failures): void {
  if (!FAILED.includes(refusal)) return;
  const { remoteAddress } = request.socket;
  failures.note(remoteAddress, isInBody(request, refusal) ? undefined : credentialOf(request));
}

/** What a request shows of its right outside the body. */
function credentialOf({ url, headers }: IncomingMessage): string {
  return `${url ?? ''} ${headers.authorization ?? ''}`;
}

/** Whether what was not good came in the body: the header of such a request may be shared by many who are. */
function isInBody({ url }: IncomingMessage, refusal: Refusal): boolean {
  if (refusal === 'revocation_not_signed') return true;
  return refusal === 'mailbox_token_invalid' && url?.startsWith('/v1/push-urls') === true;
}
