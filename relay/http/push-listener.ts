/**
 * `POST /p/<capability>` straight from Node's request and to Node's response: it is what a relay does most, and
 * requests and responses in the style of `fetch` around it cost as much as the rest of its HTTP.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { describeError } from '../../system/log.ts';
import type { Refusal } from '../core/refusal.ts';
import type { Failures } from '../failures.ts';
import { failedBefore, noteFailure } from './failed-credentials.ts';
import { createPush, type PushDeps } from './push.ts';
import { refusalAnswer } from './refusal-answer.ts';

/** What browsers are told with every answer, whatever page asks: the push URL is the credential. */
export const EXPOSED_HEADERS: readonly string[] = ['Location', 'TTL', 'Retry-After', 'Idempotency-Conflict'];
const CROSS_ORIGIN = {
  'Access-Control-Allow-Origin': '*',
  'Access-Control-Expose-Headers': EXPOSED_HEADERS.join(','),
} as const;

const PREFIX = '/p/';

/** The capability of a push request; undefined when it is another request. Never throws. */
export function capabilityIn({ method, url = '' }: IncomingMessage): string | undefined {
  if (method !== 'POST') return undefined;
  // A proxy may send the whole URL (RFC 9112 §3.2.2).
  const path = url.startsWith('/') ? url : (URL.parse(url)?.pathname ?? '');
  if (!path.startsWith(PREFIX)) return undefined;
  const end = path.indexOf('?');
  const text = path.slice(PREFIX.length, end < 0 ? undefined : end);
  if (text === '' || text.includes('/')) return undefined;
  return text.includes('%') ? decoded(text) : text;
}

/** An escaped letter is the letter (RFC 3986 §2.3); what is escaped wrongly opens nothing. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Answers a push request, whatever happens. Never rejects. */
export type PushListener = (
  request: IncomingMessage,
  response: ServerResponse,
  capability: string,
) => Promise<void>;

/** The listener of push requests (RFC 8030 §5); every refusal is `application/problem+json` (RFC 9457). */
export function createPushListener(deps: PushDeps & { readonly failures: Failures }): PushListener {
  const push = createPush(deps);
  const refuse = (request: IncomingMessage, response: ServerResponse, refusal: Refusal): void => {
    deps.events.refused(refusal);
    noteFailure(request, refusal, deps.failures);
    const { status, headers, body } = refusalAnswer(refusal);
    const close = request.complete ? {} : { Connection: 'close' };
    response
      .writeHead(status, {
        ...CROSS_ORIGIN,
        ...headers,
        ...close,
        'Content-Length': Buffer.byteLength(body),
      })
      .end(body);
  };
  return async (request, response, capability) => {
    // A sender that goes away while it is answered is not an error.
    response.on('error', () => undefined);
    const failed = failedBefore(request, deps.failures);
    if (failed !== undefined) {
      refuse(request, response, failed);
      return;
    }
    try {
      const accepted = await push(request, capability);
      if (!accepted.ok) {
        refuse(request, response, accepted.fault);
        return;
      }
      const { location, ttlSeconds, isOther } = accepted.value;
      response
        .writeHead(201, {
          ...CROSS_ORIGIN,
          Location: location,
          TTL: ttlSeconds,
          ...(isOther ? { 'Idempotency-Conflict': 'first-kept' } : {}),
          'Content-Length': 0,
        })
        .end();
    } catch (error) {
      deps.events.failed('request', describeError(error));
      if (response.headersSent) response.destroy();
      else refuse(request, response, 'internal_error');
    }
  };
}
