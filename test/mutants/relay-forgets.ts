/**
 * A relay that is wrong on purpose: it is ready, answers 201, and keeps nothing. No look at `/readyz` can tell; a vantage
 * whose message canary stays green with this relay would prove nothing.
 */
import type { CreateAcceptor } from '../../relay/replication/acceptor.ts';
import { runRelay } from '../../relay/run.ts';
import { systemClock } from '../../system/clock.ts';

const acceptAndForget: CreateAcceptor = () => ({
  accept: async () => 'accepted',
  bury: async () => undefined,
});

await runRelay({
  environment: process.env,
  clock: systemClock,
  overrides: { createAcceptor: acceptAndForget },
});
