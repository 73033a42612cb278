/**
 * A DNS client for tests: one query over UDP or TCP to one server, with our own codec.
 */
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { encodeQuery, parseResponse, type Response } from '../../healthcheck/dns/message.ts';

export interface DnsServerAddress {
  readonly address: string;
  readonly port: number;
}

const TIMEOUT_MS = 5000;

/** Sends these bytes over UDP; resolves with the reply's bytes, or undefined when none comes in time. */
export async function sendUdp(
  server: DnsServerAddress,
  bytes: Uint8Array,
  timeoutMs: number = TIMEOUT_MS,
): Promise<Uint8Array | undefined> {
  const socket = createSocket(server.address.includes(':') ? 'udp6' : 'udp4');
  try {
    return await new Promise<Uint8Array | undefined>((resolve, reject) => {
      const timer = setTimeout(() => resolve(undefined), timeoutMs);
      const settle = (reply: Uint8Array | undefined): void => {
        clearTimeout(timer);
        resolve(reply);
      };
      socket.once('message', settle);
      socket.once('error', reject);
      socket.send(bytes, server.port, server.address);
    });
  } finally {
    socket.close();
  }
}

/** Sends these messages over one TCP connection, in one segment, and resolves with as many replies. */
export async function sendTcp(
  server: DnsServerAddress,
  messages: readonly Uint8Array[],
): Promise<readonly Uint8Array[]> {
  const socket = connect(server.port, server.address);
  const framed = messages.map((bytes) =>
    Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length & 255), bytes]),
  );
  socket.write(Buffer.concat(framed));
  const replies: Uint8Array[] = [];
  let pending = Buffer.alloc(0);
  try {
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      pending = Buffer.concat([pending, chunk]);
      while (pending.length >= 2 && pending.length >= 2 + pending.readUInt16BE(0)) {
        const end = 2 + pending.readUInt16BE(0);
        replies.push(Uint8Array.from(pending.subarray(2, end)));
        pending = pending.subarray(end);
      }
      if (replies.length === messages.length) break;
    }
  } finally {
    socket.destroy();
  }
  return replies;
}

/** Asks over UDP; undefined when no well-formed response comes. */
export async function ask(
  server: DnsServerAddress,
  name: string,
  type: number,
): Promise<Response | undefined> {
  const reply = await sendUdp(server, encodeQuery(0x1234, name, type));
  return reply === undefined ? undefined : parseResponse(reply);
}
