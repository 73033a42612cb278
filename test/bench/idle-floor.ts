/**
 * The floor under the memory of an idle recipient: what Node alone keeps for an idle TLS connection, measured with
 * an echo server of a few lines in a process of its own.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { issueServerCertificate, makeAuthority } from '../../fleet/certificates.ts';
import { systemClock } from '../../system/clock.ts';
import { systemRandom } from '../../system/random.ts';
import type { EchoConfig } from './idle-echo-process.ts';
import { residentBytes } from './process-usage.ts';

/** Opened before memory is first looked at: code that is compiled and pools that are filled once are not of a connection. */
export const WARM_CONNECTIONS = 300;
const SETTLE_MS = 2000;
const NAME = 'floor.test';

/** Resident bytes for each of `connections` idle TLS connections, garbage collected. */
export async function measureIdleFloor(connections: number): Promise<number> {
  const context = { random: systemRandom, wallMs: systemClock.wallMs() };
  const authority = await makeAuthority(context);
  const { certificatePem, keyPem } = await issueServerCertificate(context, authority, [NAME]);
  const server = start({ role: 'server', certificatePem, keyPem });
  const [port]: unknown[] = await once(server, 'message');
  const before = await settledBytes(server.pid ?? 0);
  const client = start({
    role: 'client',
    port: Number(port),
    connections,
    serverName: NAME,
    authorityPem: authority.certificatePem,
  });
  await once(client, 'message');
  const after = await settledBytes(server.pid ?? 0);
  for (const child of [client, server]) {
    const exited = once(child, 'exit');
    child.disconnect();
    await exited;
  }
  return (after - before) / connections;
}

function start(config: EchoConfig): ReturnType<typeof fork> {
  return fork(join(import.meta.dirname, 'idle-echo-process.ts'), [JSON.stringify(config)], {
    execArgv: ['--expose-gc'],
  });
}

/** Resident memory of a process that collects its garbage at SIGUSR2, once that had time to go back to the system. */
export async function settledBytes(pid: number): Promise<number> {
  for (let times = 0; times < 2; times += 1) {
    process.kill(pid, 'SIGUSR2');
    await systemClock.sleep(SETTLE_MS);
  }
  return residentBytes(pid);
}
