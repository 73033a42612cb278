/**
 * One question to one nameserver over UDP, as a resolver would ask it.
 *
 * The socket is connected, so a nameserver whose process is gone answers at once with "connection refused" on this
 * machine; one that is only silent costs the whole time-out.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { encodeQuery, parseResponse, TYPE } from '../../healthcheck/dns/message.ts';
import type { Random } from '../../system/random.ts';
import type { AddressAnswer } from './stub-resolver.ts';

export interface Nameserver {
  readonly address: string;
  readonly port: number;
}

const RECURSION_DESIRED = 1;
const NAME_ERROR = 3;

/**
 * The A records of `name`, none when it is said to have none or not to exist. Rejects on silence for `timeoutMs`
 * milliseconds, on refusal, and on a malformed answer.
 */
export async function askForAddresses(
  nameserver: Nameserver,
  name: string,
  random: Random,
  timeoutMs: number,
): Promise<AddressAnswer> {
  const socket = createSocket('udp4');
  const timer = setTimeout(() => socket.emit('error', new Error('no answer in time')), timeoutMs);
  try {
    socket.connect(nameserver.port, nameserver.address);
    await once(socket, 'connect');
    const id = Math.floor(random.fraction() * 65_536);
    const query = encodeQuery(id, name, TYPE.A, { payloadBytesMax: 1232 });
    query[2] = RECURSION_DESIRED;
    socket.send(query);
    for (;;) {
      const [bytes] = (await once(socket, 'message')) as [Uint8Array];
      const response = parseResponse(bytes);
      if (response === undefined || response.id !== id) continue;
      if (response.rcode === NAME_ERROR) return { addresses: [], ttlSeconds: 0 };
      if (response.rcode !== 0 || response.truncated) throw new Error(`rcode ${response.rcode}`);
      const found = response.answers.flatMap((record) => (record.type === 'A' ? [record] : []));
      return {
        addresses: found.map((record) => record.address),
        ttlSeconds: Math.min(...found.map((record) => record.ttlSeconds)),
      };
    }
  } finally {
    clearTimeout(timer);
    // An error that arrives after the answer concerns nobody.
    socket.on('error', () => undefined);
    socket.close();
  }
}
