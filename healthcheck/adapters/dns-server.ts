/**
 * The sockets of the nameserver: UDP and TCP (RFC 7766) at one endpoint around a function from packet to reply.
 *
 * Whoever asks is unknown and may be hostile, so every buffer and every life is bounded, and what is dropped is
 * counted by name. When all TCP connections are taken, the one that has been silent longest makes room.
 */
import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram';
import { createServer, type Server, type Socket } from 'node:net';
import type { Clock } from '../../system/clock.ts';
import type { Random } from '../../system/random.ts';
import type { Endpoint } from '../../system/settings.ts';
import { type Rcode, u16 } from '../dns/message.ts';
import type { Reply, RespondOptions } from '../dns/respond.ts';
import { listenAt, listenError } from './listen.ts';

export const DNS_DISCARDS = [
  'too_short',
  'not_a_query',
  'source_port_zero',
  'send_queue_full',
  'send_failed',
  'tcp_frame_too_long',
  'tcp_idle',
  'tcp_evicted',
  'tcp_query_limit',
] as const;
export type DnsDiscard = (typeof DNS_DISCARDS)[number];

export interface DnsServerOptions {
  readonly endpoint: Endpoint;
  readonly respond: (packet: Uint8Array, options: RespondOptions) => Reply;
  readonly replied: (rcode: Rcode) => void;
  readonly discarded: (reason: DnsDiscard) => void;
  readonly clock: Clock;
  readonly random: Random;
}

export interface DnsServer {
  /** The port in use, which is the endpoint's unless that is 0. */
  readonly port: number;
  close(): Promise<void>;
}

/** A query has at most a name, a type and a few options. */
const TCP_QUERY_BYTES_MAX = 4096;
const TCP_CONNECTIONS_MAX = 256;
const TCP_QUERIES_MAX = 1000;
const TCP_IDLE_MS = 10_000;
const UDP_SEND_QUEUE_BYTES_MAX = 4 * 1024 * 1024;
const UDP_BUFFER_BYTES = 4 * 1024 * 1024;
/** Steps of the golden ratio visit every part of [0, 1) evenly, also when A and AAAA queries alternate. */
const TURN_STEP = (Math.sqrt(5) - 1) / 2;

/** Binds both protocols or neither; rejects with a ListenError. */
export async function startDnsServer(options: DnsServerOptions): Promise<DnsServer> {
  let turn = options.random.fraction();
  const reply = (packet: Uint8Array, transport: 'udp' | 'tcp'): Uint8Array | undefined => {
    turn = (turn + TURN_STEP) % 1;
    const result = options.respond(packet, { transport, turn });
    if (result.kind === 'discarded') {
      options.discarded(result.reason);
      return undefined;
    }
    options.replied(result.rcode);
    return result.bytes;
  };

  const connections = new Set<Socket>();
  const tcp = createServer({ noDelay: true }, (socket) => {
    makeRoom(connections, options);
    connections.add(socket);
    socket.once('close', () => connections.delete(socket));
    serveConnection(socket, connections, options, (packet) => reply(packet, 'tcp'));
  });
  const udp = createSocket({ type: options.endpoint.host.includes(':') ? 'udp6' : 'udp4' });
  udp.on('message', (packet, from) => {
    if (from.port === 0) options.discarded('source_port_zero');
    else sendUdp(udp, reply(packet, 'udp'), from, options);
  });
  const port = await bindBoth(tcp, udp, options.endpoint);
  // After the start no error of a listening socket may end a nameserver; single failures are counted where they occur.
  tcp.on('error', () => options.discarded('send_failed'));
  udp.on('error', () => options.discarded('send_failed'));
  return {
    port,
    close: async () => {
      const closed = Promise.withResolvers<void>();
      tcp.close(() => closed.resolve());
      for (const socket of connections) socket.destroy();
      await closed.promise;
      const udpClosed = Promise.withResolvers<void>();
      udp.close(() => udpClosed.resolve());
      await udpClosed.promise;
    },
  };
}

function sendUdp(
  udp: UdpSocket,
  bytes: Uint8Array | undefined,
  to: RemoteInfo,
  { discarded }: DnsServerOptions,
): void {
  if (bytes === undefined) return;
  if (udp.getSendQueueSize() > UDP_SEND_QUEUE_BYTES_MAX) {
    discarded('send_queue_full');
    return;
  }
  udp.send(bytes, to.port, to.address, (error) => {
    if (error !== null) discarded('send_failed');
  });
}

/** TCP takes the port first; a UDP port of the same number that is taken is then told by name. */
async function bindBoth(tcp: Server, udp: UdpSocket, endpoint: Endpoint): Promise<number> {
  const port = await listenAt(tcp, 'DNS over TCP', endpoint);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  udp.once('listening', resolve).once('error', reject);
  udp.bind({ port, address: endpoint.host, exclusive: true });
  try {
    await promise;
  } catch (error) {
    tcp.close();
    udp.close();
    throw listenError('DNS over UDP', { host: endpoint.host, port }, error);
  }
  udp.off('error', reject);
  udp.setRecvBufferSize(UDP_BUFFER_BYTES);
  return port;
}

function makeRoom(connections: Set<Socket>, { discarded }: DnsServerOptions): void {
  if (connections.size < TCP_CONNECTIONS_MAX) return;
  const [quietest] = connections;
  if (quietest === undefined) return;
  discarded('tcp_evicted');
  connections.delete(quietest);
  quietest.destroy();
}

/** Frames of two length bytes and a message; replies leave in the order of their queries. */
function serveConnection(
  socket: Socket,
  connections: Set<Socket>,
  { clock, discarded }: DnsServerOptions,
  reply: (packet: Uint8Array) => Uint8Array | undefined,
): void {
  let pending: Uint8Array = new Uint8Array(0);
  let queries = 0;
  const end = (reason: DnsDiscard): void => {
    discarded(reason);
    socket.destroy();
  };
  let cancelIdle = clock.after(TCP_IDLE_MS, () => end('tcp_idle'));
  const touch = (): void => {
    cancelIdle();
    cancelIdle = clock.after(TCP_IDLE_MS, () => end('tcp_idle'));
    // The set is in order of last activity, so the quietest connection is its first.
    if (connections.delete(socket)) connections.add(socket);
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
      const bytes = reply(pending.subarray(2, 2 + length));
      pending = pending.subarray(2 + length);
      touch();
      if (bytes === undefined) {
        socket.destroy();
        return;
      }
      socket.write(Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length & 0xff), bytes]));
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
  socket.on('error', () => socket.destroy());
  socket.once('close', () => cancelIdle());
}
