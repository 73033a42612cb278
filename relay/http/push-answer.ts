/**
 * What a push request is answered with (RFC 8030 §5), whoever read it: Node's HTTP, or a plain stream of push requests
 * (`push-stream.ts`).
 */
import { STATUS_CODES } from 'node:http';
import { describeError } from '../../system/log.ts';
import type { Refusal } from '../core/refusal.ts';
import type { Failures } from '../failures.ts';
import { failedBefore, noteFailure } from './failed-credentials.ts';
import { createPush, type IncomingPush, type PushDeps } from './push.ts';
import { refusalAnswer } from './refusal-answer.ts';

export interface PushAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What browsers are told with every answer, whatever page asks: the push URL is the credential. */
export const EXPOSED_HEADERS: readonly string[] = ['Location', 'TTL', 'Retry-After', 'Idempotency-Conflict'];
const CROSS_ORIGIN = {
  'Access-Control-Allow-Origin': '*',
  'Access-Control-Expose-Headers': EXPOSED_HEADERS.join(','),
} as const;
const CROSS_ORIGIN_LINES: string = linesOf(CROSS_ORIGIN);

/** Answers a push request, whatever happens. Never rejects. */
export type AnswerPush = (incoming: IncomingPush) => Promise<PushAnswer>;

/** Every refusal is `application/problem+json` (RFC 9457). */
export function createPushAnswers(deps: PushDeps & { readonly failures: Failures }): AnswerPush {
  const push = createPush(deps);
  const refuse = (incoming: IncomingPush, refusal: Refusal): PushAnswer => {
    deps.events.refused(refusal);
    noteFailure(incoming.credential, refusal, deps.failures);
    return refusalAnswer(refusal);
  };
  return async (incoming) => {
    const failed = failedBefore(incoming.credential, deps.failures);
    if (failed !== undefined) return refuse(incoming, failed);
    try {
      const accepted = await push(incoming);
      if (!accepted.ok) return refuse(incoming, accepted.fault);
      const { location, ttlSeconds, isOther } = accepted.value;
      const headers = { Location: location, TTL: String(ttlSeconds) };
      return {
        status: 201,
        headers: isOther ? { ...headers, 'Idempotency-Conflict': 'first-kept' } : headers,
        body: '',
      };
    } catch (error) {
      deps.events.failed('request', describeError(error));
      return refuse(incoming, 'internal_error');
    }
  };
}

/** The headers of an answer, those that belong to every one included. */
export function headersOf({ headers, body }: PushAnswer): Readonly<Record<string, string | number>> {
  return { ...CROSS_ORIGIN, ...headers, 'Content-Length': Buffer.byteLength(body) };
}

/**
 * The whole answer as Latin-1 text (RFC 9112 §4); `date` is an IMF-fixdate (RFC 9110 §5.6.7). `keptSeconds`: how long the
 * connection may stay idle.
 */
export function textOf(answer: PushAnswer, date: string, keptSeconds: number): string {
  const { status, headers, body } = answer;
  const kept =
    headers['Connection'] === undefined
      ? `Connection: keep-alive\r\nKeep-Alive: timeout=${keptSeconds}\r\n`
      : '';
  return (
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${CROSS_ORIGIN_LINES}${linesOf(headers)}` +
    `Content-Length: ${body.length}\r\nDate: ${date}\r\n${kept}\r\n${body}`
  );
}

function linesOf(headers: Readonly<Record<string, string>>): string {
  let lines = '';
  for (const name in headers) lines += `${name}: ${headers[name] ?? ''}\r\n`;
  return lines;
}
