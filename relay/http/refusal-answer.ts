/**
 * How a refusal is put to a client: a status, and a problem document (RFC 9457) with its name.
 */
import { REFUSALS, type Refusal } from '../core/refusal.ts';

export interface RefusalAnswer {
  readonly status: (typeof REFUSALS)[Refusal]['status'];
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const BODY_UNREAD: readonly Refusal[] = [
  'request_unreadable',
  'request_too_slow',
  'headers_too_large',
  'body_too_large',
  'body_incomplete',
  'not_encrypted',
  'host_ambiguous',
];

/** The whole answer to a request that is refused. */
export function refusalAnswer(refusal: Refusal): RefusalAnswer {
  const { status, title, retryAfterSeconds } = REFUSALS[refusal];
  return {
    status,
    headers: {
      'Content-Type': 'application/problem+json',
      ...(retryAfterSeconds === undefined ? {} : { 'Retry-After': String(retryAfterSeconds) }),
      // RFC 9110 §15.5.2, §15.5.16 and §15.5.22: how to prove who one is, which coding is taken, what to speak.
      ...(status === 401 ? { 'WWW-Authenticate': refusal === 'vapid_missing' ? 'vapid' : 'Bearer' } : {}),
      ...(status === 426 ? { Connection: 'Upgrade, close', Upgrade: 'websocket' } : {}),
      ...(status === 415 ? { 'Accept-Encoding': 'aes128gcm' } : {}),
      // The rest of a body that nobody reads must not be taken for the next request.
      ...(BODY_UNREAD.includes(refusal) ? { Connection: 'close' } : {}),
    },
    body: JSON.stringify({ type: 'about:blank', title, status, code: refusal }),
  };
}
