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

/** What a request shows of its right outside the body, and where it comes from. */
export interface Credential {
  readonly address: string | undefined;
  readonly url: string;
  readonly authorization: string | undefined;
}

/** Of a request as Node read it. */
export function credentialOf({ socket, url, headers }: IncomingMessage): Credential {
  return { address: socket.remoteAddress, url: url ?? '', authorization: headers.authorization };
}

/** The refusal of a request whose credential, or whose address, has failed too often. */
export function failedBefore(credential: Credential, failures: Failures): Refusal | undefined {
  const { address } = credential;
  if (failures.isHopeless(address, () => nameOf(credential))) return 'failures_too_fast';
  return failures.isUnwelcome(address) ? 'overloaded' : undefined;
}

/** Counts the refusal of a request, if it is one of its credential. */
export function noteFailure(credential: Credential, refusal: Refusal, failures: Failures): void {
  if (!FAILED.includes(refusal)) return;
  failures.note(credential.address, isInBody(credential, refusal) ? undefined : nameOf(credential));
}

function nameOf({ url, authorization = '' }: Credential): string {
  return `${url} ${authorization}`;
}

/** Whether what was not good came in the body: the header of such a request may be shared by many who are. */
function isInBody({ url }: Credential, refusal: Refusal): boolean {
  if (refusal === 'revocation_not_signed') return true;
  return refusal === 'mailbox_token_invalid' && url.startsWith('/v1/push-urls');
}
