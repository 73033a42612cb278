/**
 * `POST /p/<capability>` straight from Node's request and to Node's response: requests and responses in the style of
 * `fetch` around it cost as much as the rest of its HTTP. Plain ones do not even come here (`push-stream.ts`).
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { credentialOf } from './failed-credentials.ts';
import { type AnswerPush, headersOf, type PushAnswer } from './push-answer.ts';
import { passOver, readBody } from './request-body.ts';

const PREFIX = '/p/';
/**
 * What is read of a body after its refusal: a sender that has still more to say, or says nothing for so long,
 * milliseconds, is cut.
 */
const PASSED_OVER_BYTES_MAX: number = 4 * 1024 * 1024;
const QUIET_MS = 2000;

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

/** Gives what `answer` says to Node. */
export function createPushListener(answer: AnswerPush): PushListener {
  return async (request, response, capability) => {
    // A sender that goes away while it is answered is not an error.
    response.on('error', () => undefined);
    const answered = await answer({
      capability,
      credential: credentialOf(request),
      headers: request.headersDistinct,
      readBody: (bytesMax) => readBody(request, bytesMax),
    });
    if (request.complete) response.writeHead(answered.status, headersOf(answered)).end(answered.body);
    else await endEarly(request, response, answered);
  };
}

/**
 * Answers before the end of a request. A sender that writes to the end before it reads would find a reset in place of the
 * answer if the connection were closed at once (RFC 9112 §9.6).
 */
async function endEarly(
  request: IncomingMessage,
  response: ServerResponse,
  answered: PushAnswer,
): Promise<void> {
  response.writeHead(answered.status, { ...headersOf(answered), Connection: 'close' }).write(answered.body);
  await passOver(request, PASSED_OVER_BYTES_MAX, QUIET_MS);
  response.end();
}
