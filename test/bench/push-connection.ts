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
  /** Sends one request and resolves with its answer; rejects when the connection is lost. One at a time. */
  post(path: string, headers: string, body: Uint8Array): Promise<HttpReply>;
  close(): void;
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
  let waiting: PromiseWithResolvers<HttpReply> | undefined;
  let received = '';
  const lost = (): void => waiting?.reject(new Error('the connection was lost'));
  socket.on('error', lost).on('close', lost);
  socket.on('data', (chunk: Buffer) => {
    received += chunk.toString('latin1');
    const reply = readReply(received);
    if (reply === undefined) return;
    received = '';
    waiting?.resolve(reply);
  });
  return {
    post: (path, headers, body) => {
      const head = `POST ${path} HTTP/1.1\r\nHost: ${target.serverName}:${target.port}\r\n${headers}Content-Length: ${body.length}\r\n\r\n`;
      waiting = Promise.withResolvers<HttpReply>();
      socket.write(Buffer.concat([Buffer.from(head, 'latin1'), body]));
      return waiting.promise;
    },
    close: () => socket.destroy(),
  };
}

function readReply(text: string): HttpReply | undefined {
  const headEnd = text.indexOf('\r\n\r\n');
  if (headEnd < 0) return undefined;
  const status = Number(text.slice(9, 12));
  const rest = text.slice(headEnd + 4);
  const head = text.slice(0, headEnd + 2);
  const length = /\r\ncontent-length: *(\d+)\r\n/i.exec(head)?.[1];
  if (length !== undefined) return rest.length < Number(length) ? undefined : { status, body: rest };
  return /\r\ntransfer-encoding:/i.test(head) && !rest.endsWith('0\r\n\r\n')
    ? undefined
    : { status, body: rest };
}
