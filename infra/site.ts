/**
 * What every provider must give the rest of the system, and what it gets. The three files in sites/ have the same
 * sections in the same order; to learn one after another, compare them.
 */
import type { Output } from '@pulumi/pulumi';

export interface Site {
  /** Where clients and peers reach the relays. In the manifest and in DNS answers, so it must never change. */
  readonly relay: { readonly ipv4: Output<string> };
  /** Where the nameserver answers. In the delegation's glue at the registrar, so it must never change. */
  readonly nameserver: { readonly ipv4: Output<string> };
}

export interface SiteSpec {
  /** The site's name in the manifest. */
  readonly name: string;
  readonly provider: 'aws' | 'gcp' | 'hetzner';
  /** The provider's own word for the place: `eu-central-1`, `europe-west3`, `fsn1`. */
  readonly location: string;
}

export interface SiteOptions {
  /** Whether the static addresses are protected against deletion. */
  readonly isProtected: boolean;
}

export interface SiteModule {
  readonly createSite: (spec: SiteSpec, options: SiteOptions) => Site;
}

/** On everything that can carry it, so that a bill or a console says what a thing is for. */
export function labelsOf(spec: SiteSpec): Record<string, string> {
  return { project: 'archipelago', site: spec.name };
}
