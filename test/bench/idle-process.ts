/**
 * Recipients that are connected and hear nothing: opens as many WebSockets as it is told, each with a mailbox of its
 * own, says so to its parent, and holds them until the parent goes.
 */
import { connectRecipient, createBenchMailbox } from './bench-recipient.ts';
import type { Target } from './push-connection.ts';

export interface IdleConfig {
  readonly target: Target;
  readonly connections: number;
}

const AT_ONCE = 64;

const { target, connections } = JSON.parse(process.argv[2] ?? '') as IdleConfig;
process.once('disconnect', () => process.exit(0));
let next = 0;
await Promise.all(
  Array.from({ length: AT_ONCE }, async () => {
    while (next < connections) {
      next += 1;
      await connectRecipient(target, createBenchMailbox(), {
        gathering: { batchForMs: 0, batchForMsMax: 0 },
        onBody: () => undefined,
        onLost: (reason) => {
          throw new Error(`an idle recipient was disconnected: ${reason}`);
        },
      });
    }
  }),
);
process.send?.('connected');
