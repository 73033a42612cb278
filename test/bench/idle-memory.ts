/**
 * What idle recipients cost: the relay as shipped over TLS, the relay's own code without TLS, and the floor of each. V8's young
 * generation grows to a size of its own whether connections are many or few, so it is told apart.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { getHeapSpaceStatistics } from 'node:v8';
import { systemClock } from '../../system/clock.ts';
import { residentBytes } from './process-usage.ts';

/** Bytes that one more idle connection costs, garbage collected. */
export interface IdleMemory {
  readonly residentEach: number;
  /** Of `residentEach`, what V8's young generation grew by; it is bounded, and not of a connection. */
  readonly youngEach: number;
  /** What is in use on V8's heap, without the young generation. */
  readonly heapEach: number;
}

/** Of a whole process, bytes. */
export interface ProcessMemory {
  readonly resident: number;
  readonly young: number;
  readonly heap: number;
}

/**
 * Connections that are open before memory is first looked at: code that is compiled, and pools that are filled, once are not of
 * a connection.
 */
export const WARM_CONNECTIONS = 2000;
const SETTLE_MS = 2000;

/** The growth from the first `WARM_CONNECTIONS` to all `connections`; `connect` opens some and holds them. */
export async function growthOf(
  connections: number,
  connect: (count: number) => Promise<ChildProcess>,
  memoryNow: () => Promise<ProcessMemory>,
): Promise<IdleMemory> {
  const more = connections - WARM_CONNECTIONS;
  if (more < 1) throw new RangeError(`--connections: more than ${WARM_CONNECTIONS}, got ${connections}`);
  const first = await connect(WARM_CONNECTIONS);
  const before = await memoryNow();
  const rest = await connect(more);
  const after = await memoryNow();
  await Promise.all([first, rest].map(endChild));
  const each = (of: keyof ProcessMemory): number => (after[of] - before[of]) / more;
  return { residentEach: each('resident'), youngEach: each('young'), heapEach: each('heap') };
}

/** A program of this folder with its configuration, in JSON, as the only argument; it ends when it is disconnected. */
export function startChild(
  program: string,
  config: unknown,
  nodeArguments: readonly string[] = [],
): ChildProcess {
  const execArgv = ['--expose-gc', ...nodeArguments];
  return fork(join(import.meta.dirname, program), [JSON.stringify(config)], { execArgv });
}

/** Clients that hold their connections once they have opened them. */
export async function connectChild(program: string, config: unknown): Promise<ChildProcess> {
  const child = startChild(program, config);
  const [said]: unknown[] = await Promise.race([once(child, 'message'), once(child, 'exit')]);
  if (said !== 'connected') throw new Error('idle connections could not be opened');
  return child;
}

export async function endChild(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  child.disconnect();
  await exited;
}

/** Resident memory of a process that collects its garbage at SIGUSR2, once that had time to go back to the system. */
export async function settledBytes(pid: number): Promise<number> {
  for (let times = 0; times < 2; times += 1) {
    process.kill(pid, 'SIGUSR2');
    await systemClock.sleep(SETTLE_MS);
  }
  return residentBytes(pid);
}

/** Of a child that answers with `answerMemory`. */
export async function memoryOf(child: ChildProcess): Promise<ProcessMemory> {
  const resident = await settledBytes(child.pid ?? 0);
  child.send('memory');
  const [answer]: unknown[] = await once(child, 'message');
  return { resident, ...(answer as Omit<ProcessMemory, 'resident'>) };
}

/** Makes this process one that `memoryOf` can be asked about, and that ends with its parent. */
export function answerMemory(): void {
  process.once('disconnect', () => process.exit(0));
  process.on('SIGUSR2', () => globalThis.gc?.());
  process.on('message', () => {
    const young = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space');
    process.send?.({
      young: young?.space_size ?? 0,
      heap: process.memoryUsage().heapUsed - (young?.space_used_size ?? 0),
    });
  });
}
