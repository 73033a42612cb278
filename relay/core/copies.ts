/**
 * When is a message accepted? Once enough different providers hold it. Two sites at one provider count once,
 * because they fall together.
 */
import type { SiteEntry, SiteName } from '../../fleet/manifest/manifest.ts';

/** How many providers must hold a message before its sender hears 201. */
export const COPIES_NEEDED = 2;

export interface CopyCount {
  /** Writes down that a site holds the message; true once the message is accepted. */
  confirm(site: SiteName): boolean;
  readonly holders: ReadonlySet<SiteName>;
}

/** A count that is reached when `needed` distinct providers have confirmed: two sites at one provider count once. */
export function countCopies(
  sites: readonly Pick<SiteEntry, 'name' | 'provider'>[],
  needed: number,
): CopyCount {
  const holders = new Set<SiteName>();
  const providers = new Set<string>();
  return {
    holders,
    confirm: (name) => {
      for (const site of sites) {
        if (site.name !== name) continue;
        holders.add(name);
        providers.add(site.provider);
      }
      return providers.size >= needed;
    },
  };
}

interface AtProvider {
  readonly provider: string;
}

/** Whether these sites are at enough different providers. */
function areEnough(sites: readonly AtProvider[], needed: number): boolean {
  return new Set(sites.map(({ provider }) => provider)).size >= needed;
}

/** Whether this site and the other sites that it can reach make up enough providers. */
export function canReachEnough(own: AtProvider, reachable: readonly AtProvider[], needed: number): boolean {
  return areEnough([own, ...reachable], needed);
}

/**
 * Whether what `needed` providers hold must have been met by whoever has asked all sites but these: of sites that are at
 * fewer providers than that, none can have kept it to themselves. Of three providers with two copies of everything, the own
 * store and one other are enough. A provider with two sites is only through when both have answered.
 */
export function wouldHaveMet(unasked: readonly AtProvider[], needed: number): boolean {
  return !areEnough(unasked, needed);
}
