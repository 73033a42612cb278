/**
 * How long messages had fewer copies than sites: from when a site began to lack what it was owed until nothing old was
 * owed to it any more. While that lasts, a second failure may reach what the first one left.
 */
import type { SiteName } from '../fleet/manifest/manifest.ts';
import type { Clock } from '../system/clock.ts';
import type { RelayEvents } from './events.ts';
import type { Debt } from './ports.ts';

/** What is owed for less than this is on its way, milliseconds. */
const BEHIND_MS = 3000;
/** A busy moment is over by then; a site that is owed something older lacks it, milliseconds. */
const LACKING_MS = 10_000;

export interface CatchUp {
  /** Takes note of a debt each time it is known, and tells how long it took when a site has caught up. */
  readonly note: (site: SiteName, debt: Debt) => void;
  /** Sites that have been owed something for so long that it is not on its way any more. */
  readonly lacking: () => readonly SiteName[];
}

/** Nobody is behind at first. */
export function createCatchUp(deps: {
  readonly clock: Pick<Clock, 'wallMs'>;
  readonly events: Pick<RelayEvents, 'caughtUp'>;
}): CatchUp {
  const sinceMs = new Map<SiteName, number>();
  return {
    lacking: () =>
      [...sinceMs].filter(([, since]) => deps.clock.wallMs() - since > LACKING_MS).map(([site]) => site),
    note: (site, { oldestMs }) => {
      const nowMs = deps.clock.wallMs();
      const isBehind = oldestMs !== undefined && nowMs - oldestMs > BEHIND_MS;
      const began = sinceMs.get(site);
      if (isBehind) sinceMs.set(site, began ?? oldestMs);
      else if (began !== undefined) {
        sinceMs.delete(site);
        deps.events.caughtUp(site, Math.max(0, nowMs - began));
      }
    },
  };
}
