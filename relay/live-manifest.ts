/**
 * The manifest that changes while the relay runs. Zone, port and the own provider stay as they were at the start, since
 * names, origins and certificates follow from them; everything else is what the newest manifest says.
 */
import type { Manifest, SiteEntry, SiteName } from '../fleet/manifest/manifest.ts';

export interface LiveManifest {
  /** Its list of sites is always the newest: hold on to that list, and to nothing in it. */
  readonly manifest: Manifest;
  /** Goes on with the sites of a newer one. */
  replace(next: Manifest): void;
}

/** What a manifest changes that a relay takes only at its start; undefined: nothing of the kind. */
export function whatNeedsRestart(
  running: Pick<Manifest, 'zone' | 'port' | 'sites'>,
  next: Pick<Manifest, 'zone' | 'port' | 'sites'>,
  site: SiteName,
): string | undefined {
  const providerIn = ({ sites }: Pick<Manifest, 'sites'>): string | undefined =>
    ownEntry(sites, site)?.provider;
  if (running.zone !== next.zone) return 'the zone';
  if (running.port !== next.port) return 'the port';
  const provider = providerIn(next);
  return provider !== undefined && provider !== providerIn(running) ? 'the own provider' : undefined;
}

/** The entry of a site; undefined when the manifest does not have it. */
export function ownEntry(sites: readonly SiteEntry[], site: SiteName): SiteEntry | undefined {
  return sites.find(({ name }) => name === site);
}

/** Begins with this one. */
export function createLiveManifest(first: Manifest): LiveManifest {
  const sites = [...first.sites];
  return {
    manifest: { ...first, sites },
    replace: (next) => void sites.splice(0, sites.length, ...next.sites),
  };
}
