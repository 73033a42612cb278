/**
 * The sockets of the nameserver: UDP and TCP (RFC 7766) at one endpoint around the door that answers packets.
 *
 * Whoever asks is unknown and may be hostile, so every buffer and every life is bounded, and what is dropped is
 * counted by name. TCP is served here. UDP is served by threads in batches (dns-workers.ts), or by one socket in this
 * thread (udp-socket.ts).
 */
import { createServer } from 'node:net';
import type { Clock } from '../../system/clock.ts';
import type { Endpoint } from '../../system/settings.ts';
import type { Door } from '../dns/door.ts';
import type { Rcode } from '../dns/message.ts';
import { createConnections, TCP_DISCARDS } from './dns-connections.ts';
import type { DnsWorkers } from './dns-workers.ts';
import { listenAt } from './listen.ts';
import { openUdpSocket } from './udp-socket.ts';

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
  /** Who answers over UDP; undefined: this thread. */
  readonly workers: DnsWorkers | undefined;
  readonly replied: (rcode: Rcode, count: number) => void;
  readonly discarded: (reason: DnsDiscard, count: number) => void;
  readonly clock: Clock;
}

export interface DnsServer {
  /** The port in use, which is the endpoint's unless that is 0. */
  readonly port: number;
  close(): Promise<void>;
}

/** How late the time that budgets and cookies see may be; reading a clock for each packet would cost more than both. */
const CLOCK_STEP_MS = 50;

/** Binds both protocols or neither; rejects with a ListenError. */
export async function startDnsServer(options: DnsServerOptions): Promise<DnsServer> {
  const { clock, discarded, endpoint, workers } = options;
  const time = coarseTime(clock);
  const connections = createConnections(options, time);
  const tcp = createServer({ noDelay: true }, connections.serve);
  let port: number;
  let udp: { close(): Promise<void> };
  try {
    // TCP takes the port first; a UDP port of the same number that is taken is then told by name.
    port = await listenAt(tcp, 'DNS over TCP', endpoint);
    const bound = { host: endpoint.host, port };
    udp = await (workers === undefined ? openUdpSocket(bound, options, time) : workers.open(bound));
  } catch (error) {
    tcp.close();
    time.stop();
    throw error;
  }
  // After the start no error of the listening socket may end a nameserver.
  tcp.on('error', () => discarded('send_failed', 1));
  return {
    port,
    close: async () => {
      time.stop();
      const closed = Promise.withResolvers<void>();
      tcp.close(() => closed.resolve());
      connections.destroyAll();
      await closed.promise;
      await udp.close();
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
