/**
 * What is owed to a site that left the fleet: nobody will ask for it, and it would fill the outbox. It is dropped, and
 * counted. Other relays of this site may not have heard yet and go on owing, so it is looked for again for a minute.
 */
import type { SiteName } from '../../fleet/manifest/manifest.ts';
import type { Clock } from '../../system/clock.ts';
import { describeError, type Log } from '../../system/log.ts';
import type { RelayEvents } from '../events.ts';
import type { MessageStore } from '../ports.ts';

export interface Departed {
  /** These sites have left. */
  add(sites: readonly SiteName[]): void;
  /** Drops what is owed to them until `stopped`; never rejects before. */
  readonly run: (stopped: AbortSignal) => Promise<void>;
}

export interface DepartedDeps {
  readonly store: Pick<MessageStore, 'owed' | 'settle'>;
  /** The sites of the manifest in force: one that came back is owed to again. */
  readonly sites: readonly { readonly name: SiteName }[];
  readonly clock: Clock;
  readonly events: Pick<RelayEvents, 'debtsDropped'>;
  readonly log: Log;
}

const LOOK_FOR_MS = 60_000;
const INTERVAL_MS = 1000;
const PAGE = 1024;

/** Nobody has left at first. */
export function createDeparted({ store, sites, clock, events, log }: DepartedDeps): Departed {
  const untilMs = new Map<SiteName, number>();
  const isBack = (site: SiteName): boolean => sites.some(({ name }) => name === site);
  const drop = async (site: SiteName, stopped: AbortSignal): Promise<void> => {
    let count = 0;
    while (!stopped.aborted) {
      const owed = await store.owed(site, Number.MAX_SAFE_INTEGER, PAGE);
      // Many pages take their time, and what is owed to a site that is back is owed in earnest.
      if (owed.length === 0 || isBack(site)) break;
      await store.settle([{ sites: [site], references: owed }]);
      count += owed.length;
    }
    if (count > 0) events.debtsDropped(site, count);
  };
  return {
    add: (gone) => {
      for (const site of gone) untilMs.set(site, clock.monotonicMs() + LOOK_FOR_MS);
    },
    run: async (stopped) => {
      while (!stopped.aborted) {
        for (const [site, until] of untilMs) {
          if (until < clock.monotonicMs() || isBack(site)) untilMs.delete(site);
          else {
            await drop(site, stopped).catch((error: unknown) => {
              log.debug('dropping debts paused', { peer: site, reason: describeError(error) });
            });
          }
        }
        await clock.sleep(INTERVAL_MS, stopped).catch(() => undefined);
      }
    },
  };
}
