/**
 * DNS over UDP with one socket of Node's own, in the main thread: what serves where datagrams.ts cannot.
 *
 * One buffer serves all replies: the kernel takes a datagram at once or Node queues it, and only then another buffer is
 * made.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import type { Endpoint } from '../../system/settings.ts';
import type { Arrival } from '../dns/door.ts';
import { UDP_BYTES_MAX } from '../dns/respond.ts';
import { createSourceReader } from '../dns/source.ts';
import type { DnsServerOptions } from './dns-server.ts';
import { listenError } from './listen.ts';

const SEND_QUEUE_BYTES_MAX = 4 * 1024 * 1024;
const BUFFER_BYTES = 4 * 1024 * 1024;

type UdpOptions = Pick<DnsServerOptions, 'door' | 'replied' | 'discarded'>;

/** Binds the socket and answers; rejects with a ListenError. `time` is read for every packet. */
export async function openUdpSocket(
  endpoint: Endpoint,
  options: UdpOptions,
  time: Pick<Arrival, 'nowMs' | 'wallSeconds'>,
): Promise<{ close(): Promise<void> }> {
  // Addresses are numbers already: without this Node would ask its resolver for each one.
  const udp = createSocket({
    type: endpoint.host.includes(':') ? 'udp6' : 'udp4',
    lookup: (host, _, callback) => callback(null, host, host.includes(':') ? 6 : 4),
  });
  udp.on('message', createAnswerer(udp, options, time));
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  udp.once('listening', resolve).once('error', reject);
  udp.bind({ port: endpoint.port, address: endpoint.host, exclusive: true });
  try {
    await promise;
  } catch (error) {
    udp.close();
    throw listenError('DNS over UDP', endpoint, error);
  }
  udp.off('error', reject);
  udp.setRecvBufferSize(BUFFER_BYTES);
  // After the start no error of a socket may end a nameserver; single failures are counted where they occur.
  udp.on('error', () => options.discarded('send_failed', 1));
  return {
    close: async () => {
      const closed = Promise.withResolvers<void>();
      udp.close(() => closed.resolve());
      await closed.promise;
    },
  };
}

function createAnswerer(
  udp: Socket,
  { door, replied, discarded }: UdpOptions,
  time: Pick<Arrival, 'nowMs' | 'wallSeconds'>,
): (packet: Uint8Array, from: RemoteInfo) => void {
  const readSource = createSourceReader();
  let out = Buffer.allocUnsafeSlow(UDP_BYTES_MAX);
  const failed = (error: Error | null): void => {
    if (error !== null) discarded('send_failed', 1);
  };
  return (packet, from) => {
    if (from.port === 0) {
      discarded('source_port_zero', 1);
      return;
    }
    if (udp.getSendQueueSize() > SEND_QUEUE_BYTES_MAX) {
      discarded('send_queue_full', 1);
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
      discarded(reply.reason, 1);
      return;
    }
    replied(reply.rcode, 1);
    if (reply.kind === 'messages') {
      for (const message of reply.messages) udp.send(message, from.port, from.address, failed);
      return;
    }
    udp.send(out, 0, reply.length, from.port, from.address, failed);
    if (udp.getSendQueueCount() > 0) out = Buffer.allocUnsafeSlow(UDP_BYTES_MAX);
  };
}
