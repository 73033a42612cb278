/**
 * The memory of an idle recipient without TLS, beside what the WebSocket library alone keeps: what the relay's own code adds,
 * told apart from what Node's TLS does, and comparable with what others publish.
 */
import { once } from 'node:events';
import { RELAY_NODE_OPTIONS } from '../../fleet/local/relay-environment.ts';
import { connectChild, endChild, growthOf, type IdleMemory, memoryOf, startChild } from './idle-memory.ts';
import type { PlainIdleConfig } from './idle-plain-process.ts';

const PROGRAM = 'idle-plain-process.ts';

type Kind = Extract<PlainIdleConfig, { role: 'server' }>['serves'];

/** `recipients` are the relay's; `websockets` are those of package ws with nothing behind them. */
export async function measurePlainIdle(kind: Kind, connections: number): Promise<IdleMemory> {
  const serving: PlainIdleConfig = { role: 'server', serves: kind };
  const server = startChild(PROGRAM, serving, kind === 'recipients' ? [RELAY_NODE_OPTIONS] : []);
  const [port]: unknown[] = await once(server, 'message');
  const grown = await growthOf(
    connections,
    (count) => {
      const asked: PlainIdleConfig = { role: 'client', connections: count, port: Number(port), speaks: kind };
      return connectChild(PROGRAM, asked);
    },
    () => memoryOf(server),
  );
  await endChild(server);
  return grown;
}
