/**
 * The floor under the memory of an idle recipient: what Node alone keeps for an idle TLS connection, measured with
 * an echo server of a few lines in a process of its own.
 */
import { once } from 'node:events';
import { issueServerCertificate, makeAuthority } from '../../fleet/certificates.ts';
import { systemClock } from '../../system/clock.ts';
import { systemRandom } from '../../system/random.ts';
import type { EchoConfig } from './idle-echo-process.ts';
import { connectChild, endChild, growthOf, type IdleMemory, memoryOf, startChild } from './idle-memory.ts';

const PROGRAM = 'idle-echo-process.ts';
const NAME = 'floor.test';

/** `groups` are the key exchanges that the server takes, as Node's `ecdhCurve`; its default when left out. */
export async function measureIdleFloor(connections: number, groups?: string): Promise<IdleMemory> {
  const context = { random: systemRandom, wallMs: systemClock.wallMs() };
  const authority = await makeAuthority(context);
  const { certificatePem, keyPem } = await issueServerCertificate(context, authority, [NAME]);
  const serving: EchoConfig = { role: 'server', certificatePem, keyPem, groups };
  const server = startChild(PROGRAM, serving);
  const [port]: unknown[] = await once(server, 'message');
  const grown = await growthOf(
    connections,
    (count) => {
      const asked: EchoConfig = {
        role: 'client',
        port: Number(port),
        connections: count,
        serverName: NAME,
        authorityPem: authority.certificatePem,
      };
      return connectChild(PROGRAM, asked);
    },
    () => memoryOf(server),
  );
  await endChild(server);
  return grown;
}
