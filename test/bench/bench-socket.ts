/**
 * A WebSocket of the load (RFC 6455), by hand: a library would cost the load generator as much as the relay's costs
 * the relay. It believes the relay, so it checks nothing; it is no client for anybody else.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type TLSSocket } from 'node:tls';
import type { Target } from './push-connection.ts';

export interface BenchSocket {
  readonly send: (data: Uint8Array | string) => void;
  /** Resolves when the relay has closed as well. */
  close(): Promise<void>;
}

export interface BenchSocketEvents {
  readonly onBinary: (data: Buffer) => void;
  readonly onText: (text: string) => void;
  /** Called once, however it ends. */
  readonly onEnd: (reason: string) => void;
}

const TEXT = 1;
const BINARY = 2;
const CLOSE = 8;

/** Connects for `relay.v1`. Rejects when the relay does not take it. */
export async function openBenchSocket(target: Target, events: BenchSocketEvents): Promise<BenchSocket> {
  const socket = connect({
    host: target.host,
    port: target.port,
    servername: target.serverName,
    ca: target.authorityPem,
    ALPNProtocols: ['http/1.1'],
  });
  await once(socket, 'secureConnect');
  socket.setNoDelay(true);
  await upgrade(socket, target);
  let reason = 'the connection ended';
  const closed = Promise.withResolvers<void>();
  socket.on('error', (error) => {
    reason = error.message;
  });
  socket.on('close', () => {
    closed.resolve();
    events.onEnd(reason);
  });
  readFrames(socket, (opcode, payload) => {
    if (opcode === BINARY) events.onBinary(payload);
    else if (opcode === TEXT) events.onText(payload.toString('utf8'));
    else if (opcode === CLOSE) {
      reason = `closed with ${payload.readUInt16BE(0)} ${payload.toString('utf8', 2)}`;
      socket.end();
    }
  });
  return {
    send: (data) => {
      const isText = typeof data === 'string';
      socket.write(encodeFrame(isText ? TEXT : BINARY, isText ? Buffer.from(data) : data));
    },
    close: async () => {
      socket.write(encodeFrame(CLOSE, Buffer.from([1000 >> 8, 1000 & 0xff])));
      await closed.promise;
    },
  };
}

async function upgrade(socket: TLSSocket, target: Target): Promise<void> {
  socket.write(
    `GET /v1/ws HTTP/1.1\r\nHost: ${target.serverName}:${target.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: relay.v1\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`,
  );
  let head = Buffer.alloc(0);
  while (!head.includes('\r\n\r\n')) {
    const [chunk]: unknown[] = await once(socket, 'data');
    head = Buffer.concat([head, chunk as Buffer]);
  }
  socket.pause();
  const end = head.indexOf('\r\n\r\n');
  const line = head.toString('latin1', 0, head.indexOf('\r\n'));
  if (!line.includes(' 101 ')) throw new Error(`no WebSocket: ${line}`);
  if (head.length > end + 4) socket.unshift(head.subarray(end + 4));
}

/** Frames of a server, which are neither masked nor, from a relay, in fragments. */
function readFrames(socket: TLSSocket, onFrame: (opcode: number, payload: Buffer) => void): void {
  let rest: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    while (bytes.length - at >= 2) {
      const short = (bytes[at + 1] ?? 0) & 0x7f;
      const headBytes = short < 126 ? 2 : short === 126 ? 4 : 10;
      if (bytes.length - at < headBytes) break;
      const length =
        short < 126
          ? short
          : short === 126
            ? bytes.readUInt16BE(at + 2)
            : Number(bytes.readBigUInt64BE(at + 2));
      if (bytes.length - at < headBytes + length) break;
      onFrame((bytes[at] ?? 0) & 0x0f, bytes.subarray(at + headBytes, at + headBytes + length));
      at += headBytes + length;
    }
    rest = bytes.subarray(at);
  });
  socket.resume();
}

/** A frame of a client, masked with zeros, which changes nothing. */
function encodeFrame(opcode: number, payload: Uint8Array): Buffer {
  const isShort = payload.length < 126;
  const frame = Buffer.alloc((isShort ? 6 : 8) + payload.length);
  frame[0] = 0x80 | opcode;
  frame[1] = 0x80 | (isShort ? payload.length : 126);
  if (!isShort) frame.writeUInt16BE(payload.length, 2);
  frame.set(payload, frame.length - payload.length);
  return frame;
}
