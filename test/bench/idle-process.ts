/**
 * Recipients that are connected and hear nothing: opens as many WebSockets as it is told, each with a mailbox of its
 * own, says so to its parent, and holds them until the parent goes.
 */
import { systemClock } from '../../system/clock.ts';
import { connectRecipient, createBenchMailbox } from './bench-recipient.ts';
import type { Target } from './push-connection.ts';

export interface IdleConfig {
  readonly target: Target;
  readonly connections: number;
}

const AT_ONCE = 64;
const AGAIN_AFTER_MS = 200;

const { target, connections } = JSON.parse(process.argv[2] ?? '') as IdleConfig;
process.once('disconnect', () => process.exit(0));
let next = 0;
await Promise.all(
  Array.from({ length: AT_ONCE }, async () => {
    while (next < connections) {
      next += 1;
      while (!(await isConnected())) await systemClock.sleep(AGAIN_AFTER_MS);
    }
  }),
);
process.send?.('connected');

/** False when the relay is too busy to take it: on a busy machine sixty at a time may be a surge. */
async function isConnected(): Promise<boolean> {
  try {
    await connectRecipient(target, createBenchMailbox(), {
      gathering: { batchForMs: 0, batchForMsMax: 0, batchIdsMax: 1 },
      onBody: () => undefined,
      onLost: (reason) => {
        throw new Error(`an idle recipient was disconnected: ${reason}`);
      },
    });
    return true;
  } catch (error) {
    if (error instanceof Error && / 503 |ECONNRESET/.test(error.message)) return false;
    throw error;
  }
}
