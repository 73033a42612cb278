/**
 * The memory of an idle recipient without TLS, beside what the WebSocket library alone keeps: what the relay's own code adds,
 * told apart from what Node's TLS does, and comparable with what others publish.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { settledBytes, WARM_CONNECTIONS } from './idle-floor.ts';
import type { PlainIdleConfig } from './idle-plain-process.ts';

/** Bytes of each connection, garbage collected. */
export interface PlainIdle {
  readonly residentEach: number;
  readonly heapEach: number;
}

type Kind = Extract<PlainIdleConfig, { role: 'server' }>['serves'];

/** `recipients` are the relay's; `websockets` are those of package ws with nothing behind them. */
export async function measurePlainIdle(kind: Kind, connections: number): Promise<PlainIdle> {
  const server = start({ role: 'server', serves: kind });
  const [port]: unknown[] = await once(server, 'message');
  const target = { port: Number(port), speaks: kind };
  const first = await connected({ role: 'client', connections: WARM_CONNECTIONS, ...target });
  const before = await memoryOf(server);
  const client = await connected({ role: 'client', connections, ...target });
  const after = await memoryOf(server);
  for (const child of [first, client, server]) {
    const exited = once(child, 'exit');
    child.disconnect();
    await exited;
  }
  return {
    residentEach: (after.resident - before.resident) / connections,
    heapEach: (after.heap - before.heap) / connections,
  };
}

/** Clients that have connected. */
async function connected(config: PlainIdleConfig): Promise<ChildProcess> {
  const client = start(config);
  const [said]: unknown[] = await Promise.race([once(client, 'message'), once(client, 'exit')]);
  if (said !== 'connected') throw new Error('idle connections could not be opened');
  return client;
}

function start(config: PlainIdleConfig): ChildProcess {
  return fork(join(import.meta.dirname, 'idle-plain-process.ts'), [JSON.stringify(config)], {
    execArgv: ['--expose-gc'],
  });
}

async function memoryOf(server: ChildProcess): Promise<{ readonly resident: number; readonly heap: number }> {
  const resident = await settledBytes(server.pid ?? 0);
  server.send('memory');
  const [heap]: unknown[] = await once(server, 'message');
  return { resident, heap: Number(heap) };
}
