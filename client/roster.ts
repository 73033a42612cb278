/**
 * Which site next: the last good one first, then those that failed longest ago, and never two of one provider in a
 * row while there is another. Each sender and receiver keeps its own.
 */
import type { Random } from '../system/random.ts';
import type { Site } from './fleet.ts';

export interface Roster {
  /** All sites, best first. */
  order(): readonly Site[];
  succeeded(site: Site): void;
  /** `nowMs`: monotonic, milliseconds. */
  failed(site: Site, nowMs: number): void;
}

/** Sites of `preferredProvider` come first at the start; the rest is drawn, so that the clients of a fleet spread. */
export function createRoster(
  sites: readonly Site[],
  random: Pick<Random, 'fraction'>,
  preferredProvider?: string,
): Roster {
  const drawn = sites
    .map((site) => ({ site, lot: site.provider === preferredProvider ? -1 : random.fraction() }))
    .sort((a, b) => a.lot - b.lot)
    .map(({ site }) => site);
  const failedMs = new Map<string, number>();
  let lastGood: string | undefined;
  const rank = (site: Site): number =>
    site.origin === lastGood ? Number.NEGATIVE_INFINITY : (failedMs.get(site.origin) ?? -1);
  return {
    order: () => spread([...drawn].sort((a, b) => compare(rank(a), rank(b)))),
    succeeded: (site) => {
      lastGood = site.origin;
      failedMs.delete(site.origin);
    },
    failed: (site, nowMs) => {
      if (lastGood === site.origin) lastGood = undefined;
      failedMs.set(site.origin, nowMs);
    },
  };
}

/** One site of each provider before a second one of any. */
function spread(sites: readonly Site[]): readonly Site[] {
  const turnOf = new Map<Site, number>();
  const sitesOf = new Map<string, number>();
  for (const site of sites) {
    const turn = sitesOf.get(site.provider) ?? 0;
    turnOf.set(site, turn);
    sitesOf.set(site.provider, turn + 1);
  }
  return [...sites].sort((a, b) => (turnOf.get(a) ?? 0) - (turnOf.get(b) ?? 0));
}

function compare(a: number, b: number): number {
  return a === b ? 0 : a - b;
}
