/**
 * The idle part of the relay's benchmark: recipients that are connected and hear nothing, over TLS at a relay as it is
 * shipped, and in plain at its own code alone.
 */
import { type Deployment, deploy, targetsOf } from './deployment.ts';
import { measureIdleFloor } from './idle-floor.ts';
import { connectChild, growthOf, type IdleMemory, type ProcessMemory, settledBytes } from './idle-memory.ts';
import { measurePlainIdle } from './idle-plain.ts';
import type { IdleConfig } from './idle-process.ts';

export interface IdleResult {
  readonly connections: number;
  readonly relay: IdleMemory;
  /** What Node alone keeps for an idle TLS connection: an echo server with as many of them. */
  readonly tlsFloor: IdleMemory;
  /** The relay's code for recipients on a plain HTTP server. */
  readonly plain: IdleMemory;
  /** What package ws keeps on a plain HTTP server. */
  readonly plainFloor: IdleMemory;
  /** Without the post-quantum key exchange, which OpenSSL remembers as long as the connection lives. */
  readonly classicFloor: IdleMemory;
}

const SPACE = 'relay_nodejs_heap_space_size';

/** What one more idle recipient costs the relay, beside floors of the same run. */
export async function measureIdle(connections: number): Promise<IdleResult> {
  return {
    connections,
    relay: await measureRelay(connections),
    tlsFloor: await measureIdleFloor(connections),
    classicFloor: await measureIdleFloor(connections, 'X25519'),
    plain: await measurePlainIdle('recipients', connections),
    plainFloor: await measurePlainIdle('websockets', connections),
  };
}

async function measureRelay(connections: number): Promise<IdleMemory> {
  await using deployment = await deploy('one_store', ['--expose-gc']);
  const [site] = deployment.sites;
  const [target] = targetsOf(deployment);
  if (site === undefined || target === undefined) throw new RangeError('no site');
  const connect = (count: number): ReturnType<typeof connectChild> => {
    const config: IdleConfig = { target, connections: count };
    return connectChild('idle-process.ts', config);
  };
  return await growthOf(connections, connect, () => memoryOf(deployment, site.relayPid));
}

/** After the garbage is collected, and what was freed had time to go back to the system. */
async function memoryOf(deployment: Deployment, relayPid: number): Promise<ProcessMemory> {
  const resident = await settledBytes(relayPid);
  const heap = await deployment.counter('relay_nodejs_heap_size_used_bytes');
  return {
    resident,
    young: await deployment.counter(`${SPACE}_total_bytes{space="new"}`),
    heap: heap - (await deployment.counter(`${SPACE}_used_bytes{space="new"}`)),
  };
}

/** A line for each, and what the relay adds to its floors. */
export function idleLines({ connections, ...measured }: IdleResult): readonly string[] {
  const names: Readonly<Record<keyof typeof measured, string>> = {
    relay: 'the relay, TLS',
    tlsFloor: "echo server of Node's TLS",
    classicFloor: 'the same, X25519 alone',
    plain: "the relay's code, plain TCP",
    plainFloor: 'package ws, plain TCP',
  };
  const own = ({ residentEach, youngEach }: IdleMemory): number => residentEach - youngEach;
  const added = own(measured.relay) - own(measured.tlsFloor);
  return [
    '',
    `${connections} idle connections, KB for each`.padEnd(40) +
      ['resident', 'of it young gen', 'without', 'old heap'].map((cell) => cell.padStart(17)).join(''),
    ...(Object.keys(names) as (keyof typeof measured)[]).map((name) => {
      const memory = measured[name];
      const cells = [memory.residentEach, memory.youngEach, own(memory), memory.heapEach];
      return names[name].padEnd(40) + cells.map((bytes) => kilobytes(bytes).padStart(17)).join('');
    }),
    `without the young generation the relay adds ${kilobytes(added)} KB to Node's TLS, and its code ${kilobytes(own(measured.plain) - own(measured.plainFloor))} KB to package ws`,
  ];
}

function kilobytes(bytes: number): string {
  return (bytes / 1000).toFixed(1);
}
