/**
 * The manifest that changes while the relay runs. Zone, port and the own provider stay as they were at the start, since
 * names, origins and certificates follow from them; everything else is what the newest manifest says.
 */
import { type Manifest, type SiteEntry, type SiteName, vantagesOf } from '../fleet/manifest/manifest.ts';

export interface LiveManifest {
  /** Its lists of sites and witnesses are always the newest: hold on to the lists, and to nothing in them. */
  readonly manifest: Manifest;
  /** Goes on with the sites and witnesses of a newer one. */
  replace(next: Manifest): void;
}

/** Why a relay has to begin anew with a manifest; undefined: it goes on with it. */
export function whatNeedsRestart(
  running: Pick<Manifest, 'zone' | 'port' | 'sites'>,
  next: Pick<Manifest, 'zone' | 'port' | 'sites'>,
  site: SiteName,
): 'zone_changed' | 'port_changed' | 'provider_changed' | undefined {
  const providerIn = ({ sites }: Pick<Manifest, 'sites'>): string | undefined =>
    ownEntry(sites, site)?.provider;
  if (running.zone !== next.zone) return 'zone_changed';
  if (running.port !== next.port) return 'port_changed';
  const provider = providerIn(next);
  return provider !== undefined && provider !== providerIn(running) ? 'provider_changed' : undefined;
}

/** The entry of a site; undefined when the manifest does not have it. */
export function ownEntry(sites: readonly SiteEntry[], site: SiteName): SiteEntry | undefined {
  return sites.find(({ name }) => name === site);
}

/** SHA-256 of the operator tokens with which vantages make push URLs for their message canaries. */
export function vantageTokenHashes(manifest: Pick<Manifest, 'sites' | 'witnesses'>): readonly Uint8Array[] {
  return vantagesOf(manifest).flatMap(({ vantage: { operatorTokenHash: hash } }) =>
    hash === undefined ? [] : [Buffer.from(hash, 'base64url')],
  );
}

/** Begins with this one. */
export function createLiveManifest(first: Manifest): LiveManifest {
  const sites = [...first.sites];
  const witnesses = [...first.witnesses];
  return {
    manifest: { ...first, sites, witnesses },
    replace: (next) => {
      sites.splice(0, sites.length, ...next.sites);
      witnesses.splice(0, witnesses.length, ...next.witnesses);
    },
  };
}
