/**
 * One sender of the load: a TLS connection that is kept, and one push request at a time on it (RFC 8030 §5).
 *
 * It writes and reads HTTP/1.1 by hand, because a load generator made of a whole HTTP client would be measured
 * instead of the relay.
 */
import { once } from 'node:events';
import { connect, type TLSSocket } from 'node:tls';

export interface Target {
  readonly host: string;
  readonly port: number;
  readonly serverName: string;
  readonly authorityPem: string;
}

export interface HttpReply {
  readonly status: number;
  readonly body: string;
}

export interface PushConnection {
  /** Sends a whole request and calls back with its answer, one at a time. Throws when the connection is lost. */
  send(request: Uint8Array, onReply: (reply: HttpReply) => void): void;
  close(): void;
}

/** The bytes of a POST request. */
export function encodePost(target: Target, path: string, headers: string, body: Uint8Array): Buffer {
  const host = `${target.serverName}:${target.port}`;
  const head = `POST ${path} HTTP/1.1\r\nHost: ${host}\r\n${headers}Content-Length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head, 'latin1'), body]);
}

export async function openPushConnection(target: Target): Promise<PushConnection> {
  const socket: TLSSocket = connect({
    host: target.host,
    port: target.port,
    servername: target.serverName,
    ca: target.authorityPem,
    ALPNProtocols: ['http/1.1'],
  });
  await once(socket, 'secureConnect');
  socket.setNoDelay(true);
  let waiting: ((reply: HttpReply) => void) | undefined;
  let received = '';
  const lost = (): void => {
    if (waiting !== undefined) throw new Error('a sender lost its connection');
  };
  socket.on('error', lost).on('close', lost);
  socket.on('data', (chunk: Buffer) => {
    received += chunk.toString('latin1');
    const reply = readReply(received);
    if (reply === undefined) return;
    received = '';
    const answer = waiting;
    waiting = undefined;
    answer?.(reply);
  });
  return {
    send: (request, onReply) => {
      waiting = onReply;
      socket.write(request);
    },
    close: () => {
      waiting = undefined;
      socket.destroy();
    },
  };
}

function readReply(text: string): HttpReply | undefined {
  const headEnd = text.indexOf('\r\n\r\n');
  if (headEnd < 0) return undefined;
  const status = Number(text.slice(9, 12));
  // The answer to a push has no body, so there is nothing to look for.
  if (status === 201 && headEnd + 4 === text.length && text.includes('\r\nTTL: '))
    return { status, body: '' };
  const rest = text.slice(headEnd + 4);
  const head = text.slice(0, headEnd + 2);
  const length = /\r\ncontent-length: *(\d+)\r\n/i.exec(head)?.[1];
  if (length !== undefined) return rest.length < Number(length) ? undefined : { status, body: rest };
  return /\r\ntransfer-encoding:/i.test(head) && !rest.endsWith('0\r\n\r\n')
    ? undefined
    : { status, body: rest };
}
