/**
 * A target is what a vantage judges: one site through one address family. IPv4 and IPv6 fail apart, so they are
 * probed, voted on and withdrawn apart.
 */
import {
  type Manifest,
  type SiteEntry,
  type SiteName,
  vantagesOf,
  type WitnessEntry,
} from '../../fleet/manifest/manifest.ts';

export type Family = 'ipv4' | 'ipv6';
export const FAMILIES: readonly Family[] = ['ipv4', 'ipv6'];

export interface Target {
  readonly site: SiteName;
  readonly family: Family;
}

/** A target as text, for maps and for lists that are stored. */
export type TargetKey = `${SiteName}/${Family}`;

/** One string for each target, for maps and labels. */
export function keyOf(target: Target): TargetKey {
  return `${target.site}/${target.family}`;
}

/** The families in which a site publishes relay addresses. */
function familiesOf(site: SiteEntry): readonly Family[] {
  return FAMILIES.filter((family) => site.relay[family].length > 0);
}

/** Asked for at every probe and vote, and the same for as long as the manifest is. */
const known = new WeakMap<Manifest['sites'], readonly Target[]>();

/** Every target of the fleet, in the order of the manifest. */
export function targetsOf({ sites }: Pick<Manifest, 'sites'>): readonly Target[] {
  const before = known.get(sites);
  if (before !== undefined) return before;
  const targets = sites.flatMap((site) => familiesOf(site).map((family) => ({ site: site.name, family })));
  known.set(sites, targets);
  return targets;
}

/** Whether both name the same site and family. */
export function isSameTarget(a: Target, b: Target): boolean {
  return a.site === b.site && a.family === b.family;
}

/** The site of that name, undefined when the manifest has none. */
export function siteNamed(manifest: Pick<Manifest, 'sites'>, name: SiteName): SiteEntry | undefined {
  return manifest.sites.find((site) => site.name === name);
}

/** The vantage of a site, or a witness. */
export function vantageNamed(
  manifest: Pick<Manifest, 'sites' | 'witnesses'>,
  name: SiteName,
): WitnessEntry | undefined {
  return vantagesOf(manifest).find((vantage) => vantage.name === name);
}
