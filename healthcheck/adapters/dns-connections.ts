/**
 * DNS over TCP (RFC 7766): frames of two length bytes and a message, many on one connection, replies in the order of
 * their queries.
 *
 * Connections are scarce and anybody may open them: there is a limit in all, where the one that has been silent
 * longest makes room, and one for each network of sources, so that a single customer's machines cannot push out the
 * others. A client that does not read gets no further replies.
 */
import type { Socket } from 'node:net';
import type { Clock } from '../../system/clock.ts';
import type { Arrival, Door } from '../dns/door.ts';
import { type Rcode, u16 } from '../dns/message.ts';
import { createSourceReader, networkOf } from '../dns/source.ts';

export const TCP_DISCARDS = [
  'tcp_frame_too_long',
  'tcp_idle',
  'tcp_evicted',
  'tcp_source_limit',
  'tcp_query_limit',
] as const;
type TcpDiscard = (typeof TCP_DISCARDS)[number];

export interface ConnectionsOptions {
  readonly door: Door;
  readonly replied: (rcode: Rcode, count: number) => void;
  readonly discarded: (
    reason: TcpDiscard | Extract<ReturnType<Door>, { kind: 'discarded' }>['reason'],
    count: number,
  ) => void;
  readonly clock: Clock;
}

export interface Connections {
  readonly serve: (socket: Socket) => void;
  destroyAll(): void;
}

/** A query has at most a name, a type and a few options. */
const TCP_QUERY_BYTES_MAX = 4096;
const TCP_CONNECTIONS_MAX = 256;
const TCP_CONNECTIONS_OF_NETWORK_MAX = 64;
const TCP_QUERIES_MAX = 1000;
const TCP_IDLE_MS = 10_000;
const TCP_REPLY_BYTES_MAX = 65_535;

/** Connections around a door; `time` is read for every query. Destroy them all to stop. */
export function createConnections(
  options: ConnectionsOptions,
  time: Pick<Arrival, 'nowMs' | 'wallSeconds'>,
): Connections {
  const { discarded } = options;
  /** In order of last activity, with the network that each comes from. */
  const connections = new Map<Socket, string>();
  const perNetwork = new Map<string, number>();
  const readSource = createSourceReader();
  const serve = (socket: Socket): void => {
    socket.on('error', () => socket.destroy());
    const source = Uint8Array.from(readSource(socket.remoteAddress ?? ''));
    const network = networkOf(source);
    const ofNetwork = perNetwork.get(network) ?? 0;
    if (ofNetwork >= TCP_CONNECTIONS_OF_NETWORK_MAX) {
      discarded('tcp_source_limit', 1);
      socket.destroy();
      return;
    }
    if (connections.size >= TCP_CONNECTIONS_MAX) {
      const [quietest] = connections.keys();
      discarded('tcp_evicted', 1);
      quietest?.destroy();
      if (quietest !== undefined) connections.delete(quietest);
    }
    connections.set(socket, network);
    perNetwork.set(network, ofNetwork + 1);
    socket.once('close', () => {
      connections.delete(socket);
      const left = (perNetwork.get(network) ?? 1) - 1;
      if (left === 0) perNetwork.delete(network);
      else perNetwork.set(network, left);
    });
    const touched = (): void => {
      if (connections.delete(socket)) connections.set(socket, network);
    };
    serveFrames(socket, options, { source, time, touched });
  };
  return {
    serve,
    destroyAll: () => {
      for (const socket of connections.keys()) socket.destroy();
    },
  };
}

interface Connection {
  readonly source: Uint8Array;
  readonly time: Pick<Arrival, 'nowMs' | 'wallSeconds'>;
  readonly touched: () => void;
}

function serveFrames(
  socket: Socket,
  { door, replied, discarded, clock }: ConnectionsOptions,
  { source, time, touched }: Connection,
): void {
  let pending: Uint8Array = new Uint8Array(0);
  let queries = 0;
  const end = (reason: Parameters<ConnectionsOptions['discarded']>[0]): void => {
    discarded(reason, 1);
    socket.destroy();
  };
  let cancelIdle = clock.after(TCP_IDLE_MS, () => end('tcp_idle'));
  const touch = (): void => {
    cancelIdle();
    cancelIdle = clock.after(TCP_IDLE_MS, () => end('tcp_idle'));
    touched();
  };
  const answer = (packet: Uint8Array): boolean => {
    const { nowMs, wallSeconds } = time;
    const reply = door(packet, { transport: 'tcp', source, nowMs, wallSeconds }, replyBuffer.subarray(2));
    if (reply.kind === 'discarded') {
      end(reply.reason);
      return false;
    }
    replied(reply.rcode, 1);
    if (reply.kind === 'messages') {
      for (const message of reply.messages) {
        socket.write(Buffer.concat([Buffer.of(message.length >> 8, message.length & 0xff), message]));
      }
      return true;
    }
    replyBuffer.writeUInt16BE(reply.length);
    socket.write(Uint8Array.from(replyBuffer.subarray(0, 2 + reply.length)));
    return true;
  };
  const serve = (): void => {
    while (!socket.destroyed && pending.length >= 2) {
      const length = u16(pending, 0);
      if (length > TCP_QUERY_BYTES_MAX) return end('tcp_frame_too_long');
      if (pending.length < 2 + length) return;
      // A client that does not read its replies gets no further ones: its queries stay where they are.
      if (socket.writableNeedDrain) return;
      queries += 1;
      if (queries > TCP_QUERIES_MAX) return end('tcp_query_limit');
      touch();
      if (!answer(pending.subarray(2, 2 + length))) return;
      pending = pending.subarray(2 + length);
    }
  };
  socket.on('data', (chunk: Buffer) => {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    serve();
    if (socket.writableNeedDrain) socket.pause();
  });
  socket.on('drain', () => {
    serve();
    if (!socket.writableNeedDrain) socket.resume();
  });
  socket.once('close', () => cancelIdle());
}

/** One reply at a time is made, and copied out at once. */
const replyBuffer = Buffer.allocUnsafeSlow(2 + TCP_REPLY_BYTES_MAX);
