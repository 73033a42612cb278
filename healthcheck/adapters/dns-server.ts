/**
 * The sockets of the nameserver: UDP and TCP (RFC 7766) at one endpoint around the door that answers packets.
 *
 * Whoever asks is unknown and may be hostile, so every buffer and every life is bounded, and what is dropped is
 * counted by name. One buffer serves all UDP replies: the kernel takes a datagram at once or Node queues it, and only
 * then another buffer is made.
 */
import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram';
import { createServer, type Server } from 'node:net';
import type { Clock } from '../../system/clock.ts';
import type { Endpoint } from '../../system/settings.ts';
import type { Arrival, Door } from '../dns/door.ts';
import type { Rcode } from '../dns/message.ts';
import { UDP_BYTES_MAX } from '../dns/respond.ts';
import { createSourceReader } from '../dns/source.ts';
import { createConnections, TCP_DISCARDS } from './dns-connections.ts';
import { listenAt, listenError } from './listen.ts';

const UDP_DISCARDS = [
  'too_short',
  'not_a_query',
  'over_budget',
  'source_port_zero',
  'send_queue_full',
  'send_failed',
] as const;
export type DnsDiscard = (typeof UDP_DISCARDS)[number] | (typeof TCP_DISCARDS)[number];
export const DNS_DISCARDS: readonly DnsDiscard[] = [...UDP_DISCARDS, ...TCP_DISCARDS];

export interface DnsServerOptions {
  readonly endpoint: Endpoint;
  readonly door: Door;
  readonly replied: (rcode: Rcode) => void;
  readonly discarded: (reason: DnsDiscard) => void;
  readonly clock: Clock;
}

export interface DnsServer {
  /** The port in use, which is the endpoint's unless that is 0. */
  readonly port: number;
  close(): Promise<void>;
}

const UDP_SEND_QUEUE_BYTES_MAX = 4 * 1024 * 1024;
const UDP_BUFFER_BYTES = 4 * 1024 * 1024;
/** How late the time that budgets and cookies see may be; reading a clock for each packet would cost more than both. */
const CLOCK_STEP_MS = 50;

/** Binds both protocols or neither; rejects with a ListenError. */
export async function startDnsServer(options: DnsServerOptions): Promise<DnsServer> {
  const time = coarseTime(options.clock);
  const connections = createConnections(options, time);
  const tcp = createServer({ noDelay: true }, connections.serve);
  // Addresses are numbers already: without this Node would ask its resolver for each one.
  const udp = createSocket({
    type: options.endpoint.host.includes(':') ? 'udp6' : 'udp4',
    lookup: (host, _, callback) => callback(null, host, host.includes(':') ? 6 : 4),
  });
  udp.on('message', createUdpAnswerer(udp, options, time));
  let port: number;
  try {
    port = await bindBoth(tcp, udp, options.endpoint);
  } catch (error) {
    time.stop();
    throw error;
  }
  // After the start no error of a listening socket may end a nameserver; single failures are counted where they occur.
  tcp.on('error', () => options.discarded('send_failed'));
  udp.on('error', () => options.discarded('send_failed'));
  return {
    port,
    close: async () => {
      time.stop();
      const closed = Promise.withResolvers<void>();
      tcp.close(() => closed.resolve());
      connections.destroyAll();
      await closed.promise;
      const udpClosed = Promise.withResolvers<void>();
      udp.close(() => udpClosed.resolve());
      await udpClosed.promise;
    },
  };
}

interface CoarseTime {
  nowMs: number;
  wallSeconds: number;
  stop(): void;
}

function coarseTime(clock: Clock): CoarseTime {
  let cancel: (() => void) | undefined;
  const time: CoarseTime = { nowMs: 0, wallSeconds: 0, stop: () => cancel?.() };
  const step = (): void => {
    time.nowMs = clock.monotonicMs();
    time.wallSeconds = Math.floor(clock.wallMs() / 1000);
    cancel = clock.after(CLOCK_STEP_MS, step);
  };
  step();
  return time;
}

function createUdpAnswerer(
  udp: UdpSocket,
  { door, replied, discarded }: DnsServerOptions,
  time: CoarseTime,
): (packet: Uint8Array, from: RemoteInfo) => void {
  const readSource = createSourceReader();
  let out = Buffer.allocUnsafeSlow(UDP_BYTES_MAX);
  const failed = (error: Error | null): void => {
    if (error !== null) discarded('send_failed');
  };
  return (packet, from) => {
    if (from.port === 0) {
      discarded('source_port_zero');
      return;
    }
    if (udp.getSendQueueSize() > UDP_SEND_QUEUE_BYTES_MAX) {
      discarded('send_queue_full');
      return;
    }
    const arrival: Arrival = {
      transport: 'udp',
      source: readSource(from.address),
      nowMs: time.nowMs,
      wallSeconds: time.wallSeconds,
    };
    const reply = door(packet, arrival, out);
    if (reply.kind === 'discarded') {
      discarded(reply.reason);
      return;
    }
    replied(reply.rcode);
    if (reply.kind === 'messages') {
      for (const message of reply.messages) udp.send(message, from.port, from.address, failed);
      return;
    }
    udp.send(out, 0, reply.length, from.port, from.address, failed);
    if (udp.getSendQueueCount() > 0) out = Buffer.allocUnsafeSlow(UDP_BYTES_MAX);
  };
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
