/**
 * Requests that Node's HTTP gives up reading, because they are no HTTP, too large or too slow. They are refused as any other:
 * with a name, a counter and a problem document (RFC 9457).
 */
import type { Server, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { type Clock, systemClock } from '../../system/clock.ts';
import type { Refusal } from '../core/refusal.ts';
import type { RelayEvents } from '../events.ts';
import { textOf } from './push-answer.ts';
import { refusalAnswer } from './refusal-answer.ts';

/** Answers and counts what `http` cannot read. */
export function refuseUnreadable(
  http: Server,
  events: Pick<RelayEvents, 'refused'>,
  clock: Pick<Clock, 'wallMs'> = systemClock,
): void {
  /** The newest request of each connection. */
  const latest = new WeakMap<Duplex, ServerResponse>();
  /** Connections on which nothing more is read. */
  const broken = new WeakSet<Duplex>();
  http.on('request', (request, response) => latest.set(request.socket, response));

  const refuse = (socket: Duplex, refusal: Refusal): void => {
    if (!socket.writable) return;
    events.refused(refusal);
    const date = new Date(clock.wallMs()).toUTCString();
    socket.end(textOf(refusalAnswer(refusal), date, 0), 'latin1', () => socket.destroy());
  };
  http.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (broken.has(socket)) return;
    broken.add(socket);
    const refusal = refusalOf(error.code ?? '');
    const response = latest.get(socket);
    const isAnswering = response !== undefined && !response.writableFinished && !response.destroyed;
    const isWhole = response?.req.complete === true;
    if (refusal === undefined || (isAnswering && response.headersSent && !isWhole)) socket.destroy();
    // What comes behind a whole request is not taken for it, and its answer not for the answer to this.
    else if (isAnswering && isWhole) response.once('finish', () => refuse(socket, refusal));
    else refuse(socket, refusal);
  });
  http.on('connect', (_, socket) => refuse(socket, 'request_unreadable'));
}

/** Undefined when the connection broke, which nobody can be told. */
function refusalOf(code: string): Refusal | undefined {
  if (code === 'HPE_HEADER_OVERFLOW') return 'headers_too_large';
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return 'request_too_slow';
  return code.startsWith('HPE_') ? 'request_unreadable' : undefined;
}
