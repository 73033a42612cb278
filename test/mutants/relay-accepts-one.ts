/**
 * A relay that is wrong on purpose: it answers 201 as soon as its own store holds the message, and leaves the other
 * providers to the outbox. Every site that dies takes the last moments with it; a drill that stays green with this
 * relay would prove nothing.
 */
import type { CreateAcceptor } from '../../relay/replication/acceptor.ts';
import { runRelay } from '../../relay/run.ts';
import { systemClock } from '../../system/clock.ts';

const acceptAfterOneCopy: CreateAcceptor = ({ own, sites }, { store, clock }) => {
  const owedTo = sites.map(({ name }) => name).filter((name) => name !== own.name);
  return {
    accept: async (message) => {
      const [outcome] = await store.insert([{ message, owedTo }], clock.wallMs());
      return outcome === 'expired' ? 'unconfirmed' : 'accepted';
    },
    bury: async (ack) => {
      await store.bury([{ ack, owedTo }], clock.wallMs());
    },
  };
};

await runRelay({
  environment: process.env,
  clock: systemClock,
  overrides: { createAcceptor: acceptAfterOneCopy, outboxGraceMs: 2000 },
});
