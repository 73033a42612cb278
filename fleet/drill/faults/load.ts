/**
 * Faults that are load: everybody sends ten times as much, or somebody sends what nobody will ever read.
 */
import { type ClientCrew, makeUnread, startCrew } from '../clients.ts';
import { type Fault, PASSING, UNNOTICED } from './fault.ts';

/** Nine times the usual rate on top of it. */
const SURGE_FACTOR = 9;
const SURGE_SENDERS = 18;
const FILL_MAILBOXES = 2;
const FILL_SENDERS = 4;
const FILL_PER_SECOND = 200;

export type LoadFault = 'surge' | 'fill';

export const LOAD_FAULTS: Readonly<Record<LoadFault, Fault>> = {
  surge: {
    what: 'and all other sites get ten times the load',
    needs: [],
    seconds: 20,
    expects: { ...PASSING, mayLeave: 'nobody' },
    inject: async ({ crewOptions, join }) => {
      const usualPerSecond = (2 * crewOptions.senders * 1000) / crewOptions.intervalMs;
      const addressees = crewOptions.cast.addressees.filter(({ isRead }) => isRead);
      const crew = startCrew('surge', {
        ...crewOptions,
        cast: { ...crewOptions.cast, addressees },
        senders: SURGE_SENDERS,
        intervalMs: (SURGE_SENDERS * 1000) / (SURGE_FACTOR * usualPerSecond),
      });
      join(crew);
      crew.command('start');
      return await Promise.resolve({
        done: `${SURGE_FACTOR * usualPerSecond} more sends a second`,
        isEffective: () => crew.progress().attempted > SURGE_FACTOR * usualPerSecond,
        heal: async () => await stopSending(crew),
      });
    },
  },
  fill: {
    what: 'and all other sites get messages, as fast as one sender can, for mailboxes that nobody will ever read',
    needs: [],
    seconds: 20,
    expects: UNNOTICED,
    inject: async ({ clock, crewOptions, fleet, join, random }) => {
      const addressees = await makeUnread(fleet, FILL_MAILBOXES, clock, random);
      const crew = startCrew('fill', {
        ...crewOptions,
        cast: { ...crewOptions.cast, addressees },
        senders: FILL_SENDERS,
        intervalMs: (FILL_SENDERS * 1000) / FILL_PER_SECOND,
      });
      join(crew);
      crew.command('start');
      return {
        done: `${FILL_PER_SECOND} sends a second to mailboxes without a reader, until they are refused`,
        isEffective: () => crew.progress().failed > 0,
        heal: async () => await stopSending(crew),
      };
    },
  },
};

async function stopSending(crew: ClientCrew): Promise<void> {
  crew.command('stop');
  await Promise.resolve();
}
