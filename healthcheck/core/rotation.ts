/**
 * In which orders the addresses of one answer are given out. A client that tries one address tries the first, so
 * the share of orders in which a site comes first is its share of clients.
 *
 * `spread`: every site in proportion to its weight. `priority`: the heaviest site first, always, and lighter ones
 * only until two providers are in the answer. A site that came back begins with an eighth of its share and has all
 * of it after `warmUpMs` (R8 in the reference). The second address is of another provider whenever there is one, so
 * that a client that tries two addresses tries two companies.
 */
import type { Manifest, SiteEntry, SiteName } from '../../fleet/manifest/manifest.ts';
import type { Answer } from './failover.ts';
import type { Family } from './target.ts';

/** What each site's weight counts for at the moment; sites that are not warming are not listed. */
export type WarmShares = ReadonlyMap<SiteName, number>;

const WARM_UP_STEPS = [1 / 8, 1 / 4, 1 / 2, 3 / 4] as const;
/** Orders of one answer in which shares differ; a share is exact to one in so many. */
const ORDERS = 32;
/** Addresses in one response: 8 of IPv6 and a long name still fit into the 512 bytes of a query without EDNS. */
const ADDRESSES_MAX = 8;

/** The shares of sites that are warming up at `nowMs`. */
export function warmShares(answer: Answer, manifest: Manifest, nowMs: number): WarmShares {
  const { warmUpMs } = manifest.health;
  return new Map(
    answer.warming.flatMap(({ target, sinceMs }) => {
      const step = Math.floor(((nowMs - sinceMs) / warmUpMs) * WARM_UP_STEPS.length);
      const share = WARM_UP_STEPS[step];
      return share === undefined ? [] : [[target.slice(0, target.lastIndexOf('/')), share] as const];
    }),
  );
}

/** Every order in which the addresses of a family are given out, in turn. Empty when no site publishes any. */
export function ordersOf(
  manifest: Manifest,
  answer: Answer,
  family: Family,
  shares: WarmShares,
): readonly (readonly string[])[] {
  const sites = manifest.sites.filter((site) => answer.targets.includes(`${site.name}/${family}`));
  const chosen =
    manifest.steering === 'priority' ? byPriority(sites, shares) : { sites, first: turnsOf(sites, shares) };
  const depth = Math.max(0, ...chosen.sites.map((site) => site.relay[family].length));
  return Array.from({ length: depth }, (_, shift) => shift).flatMap((shift) =>
    chosen.first.map((first) => addressesFrom(first, chosen.sites, family, shift)),
  );
}

interface Chosen {
  readonly sites: readonly SiteEntry[];
  /** Who comes first, order by order. */
  readonly first: readonly SiteEntry[];
}

/** The heaviest sites until two providers are among them; a site that is warming up comes after those that are not. */
function byPriority(sites: readonly SiteEntry[], shares: WarmShares): Chosen {
  const ranked = sites.toSorted(
    (a, b) => Number(shares.has(a.name)) - Number(shares.has(b.name)) || b.weight - a.weight,
  );
  const enough = ranked.findIndex((site) => site.provider !== ranked[0]?.provider);
  const chosen = enough < 0 ? ranked : ranked.slice(0, enough + 1);
  return { sites: chosen, first: chosen.slice(0, 1) };
}

/** The sites in turn, each as often as its share says, spread evenly (smooth weighted round robin). */
function turnsOf(sites: readonly SiteEntry[], shares: WarmShares): readonly SiteEntry[] {
  const shareOf = (site: SiteEntry): number => site.weight * (shares.get(site.name) ?? 1);
  const total = sites.reduce((sum, site) => sum + shareOf(site), 0);
  if (sites.every((site) => shareOf(site) * sites.length === total)) return sites;
  const credit = new Map(sites.map((site) => [site, 0]));
  return Array.from({ length: ORDERS }, () => {
    let next = sites[0];
    for (const site of sites) {
      credit.set(site, (credit.get(site) ?? 0) + shareOf(site));
      if (next !== undefined && (credit.get(site) ?? 0) > (credit.get(next) ?? 0)) next = site;
    }
    if (next !== undefined) credit.set(next, (credit.get(next) ?? 0) - total);
    return listOf(next);
  }).flat();
}

/** The sites beginning with `first`, providers taking turns; each site's `shift`-th address before its others. */
function addressesFrom(
  first: SiteEntry,
  sites: readonly SiteEntry[],
  family: Family,
  shift: number,
): readonly string[] {
  const start = sites.indexOf(first);
  const order = byTurns([...sites.slice(start), ...sites.slice(0, start)]);
  const depth = Math.max(0, ...sites.map((site) => site.relay[family].length));
  return Array.from({ length: depth }, (_, round) =>
    order.flatMap(({ relay: { [family]: addresses } }) =>
      round < addresses.length ? listOf(addresses[(round + shift) % addresses.length]) : [],
    ),
  )
    .flat()
    .slice(0, ADDRESSES_MAX);
}

/** The sites with their providers taking turns, the first site staying first. */
function byTurns(sites: readonly SiteEntry[]): readonly SiteEntry[] {
  const groups = [...Map.groupBy(sites, (site) => site.provider).values()];
  const longest = Math.max(0, ...groups.map((group) => group.length));
  return Array.from({ length: longest }, (_, turn) => groups.flatMap((group) => listOf(group[turn]))).flat();
}

function listOf<Item>(item: Item | undefined): readonly Item[] {
  return item === undefined ? [] : [item];
}
