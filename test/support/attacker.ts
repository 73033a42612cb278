/**
 * What somebody hostile does to a relay from outside: raw TLS and TCP connections that say what no client would, many
 * of them at the same time.
 */
import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import { SUBPROTOCOL } from '../../relay/core/frame.ts';

export interface Attacker {
  /** A TLS connection to the relay; an error of it is swallowed. */
  secure(options?: ConnectionOptions): Promise<TLSSocket>;
  /** A TCP connection that says nothing. */
  silent(): Promise<Socket>;
  /** What the relay answers to `bytes`, until it closes or `withinMs` have passed. */
  say(
    bytes: string | readonly (string | Buffer)[],
    withinMs: number,
  ): Promise<{ answer: string; isClosed: boolean }>;
  /** A WebSocket of `relay.v1` that has said `hello` and is ready; what it says further is up to the caller. */
  recipient(hello: string): Promise<TLSSocket>;
  /** Ends all connections. */
  close(): void;
}

/** What asks for a WebSocket of `relay.v1` (RFC 6455 §4.1). */
export function upgradeRequest(host: string): string {
  return [
    `GET /v1/ws HTTP/1.1\r\nHost: ${host}\r\nUpgrade: websocket\r\nConnection: Upgrade`,
    `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}`,
    `Sec-WebSocket-Protocol: ${SUBPROTOCOL}\r\n\r\n`,
  ].join('\r\n');
}

/** One frame from a client (RFC 6455 §5.2), masked by zeros; `opcode` with the bit for the last fragment. */
export function webSocketFrame(opcode: number, payload: Uint8Array): Buffer {
  const { length } = payload;
  const size = length < 126 ? [0x80 | length] : [0x80 | 126, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([opcode, ...size, 0, 0, 0, 0]), payload]);
}

export const LAST_TEXT = 0x81;
export const LAST_BINARY = 0x82;
export const LAST_PING = 0x89;

/** Where attacks come from: another address than that of clients that behave. */
export const ATTACKER_ADDRESS = '127.66.6.6';

/** `servername` is sent in each ClientHello; certificates of the relay are not checked. */
export function createAttacker(host: string, port: number, servername: string): Attacker {
  const from = { host, port, localAddress: ATTACKER_ADDRESS };
  const sockets = new Set<Socket>();
  const keep = <Kind extends Socket>(socket: Kind): Kind => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy()).on('close', () => sockets.delete(socket));
    return socket;
  };
  const secure = async (options: ConnectionOptions = {}): Promise<TLSSocket> => {
    const socket = keep(connectTls({ ...from, servername, rejectUnauthorized: false, ...options }));
    await Promise.race([once(socket, 'secureConnect'), once(socket, 'close')]);
    return socket;
  };
  return {
    secure,
    recipient: async (hello) => {
      const socket = await secure();
      socket.write(upgradeRequest(servername));
      socket.write(webSocketFrame(LAST_TEXT, Buffer.from(hello)));
      const { promise, resolve } = Promise.withResolvers<void>();
      let heard = '';
      const hear = (chunk: Buffer): void => {
        heard += chunk.toString('latin1');
        if (heard.includes('"ready"')) resolve();
      };
      socket.on('data', hear).once('close', resolve);
      await promise;
      socket.off('data', hear).resume();
      return socket;
    },
    silent: async () => {
      const socket = keep(connectTcp(from));
      await once(socket, 'connect');
      return socket;
    },
    say: async (bytes, withinMs) => {
      const socket = await secure();
      let answer = '';
      socket.on('data', (chunk: Buffer) => {
        answer += chunk.toString('latin1');
      });
      const closed = once(socket, 'close').then(
        () => true,
        () => true,
      );
      for (const part of typeof bytes === 'string' ? [bytes] : bytes) socket.write(part);
      const { promise, resolve } = Promise.withResolvers<false>();
      const timer = setTimeout(() => resolve(false), withinMs);
      const isClosed = await Promise.race([closed, promise]);
      clearTimeout(timer);
      socket.destroy();
      return { answer, isClosed };
    },
    close: () => {
      for (const socket of sockets) socket.destroy();
    },
  };
}
