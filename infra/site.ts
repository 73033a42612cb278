/**
 * What every provider must give the rest of the system, and what it gets. The three files in sites/ have the same
 * sections in the same order; to learn one after another, compare them. A fourth provider is one more such file.
 */
import type { Output } from '@pulumi/pulumi';

export const PROVIDERS = ['aws', 'gcp', 'hetzner'] as const;

/** The stack's outputs for one site: what goes into the manifest and the delegation. Nothing in it is secret. */
export interface Site {
  /** Where clients and peers reach the relays, one address or several of each family; they must never change. */
  readonly relay: { readonly ipv4: Output<string[]>; readonly ipv6: Output<string[]> };
  /** Where the nameserver and vantage answers. In the glue at the registrar, so it must never change. */
  readonly nameserver: { readonly ipv4: Output<string>; readonly ipv6: Output<string> };
}

/** One entry of `archipelago:sites`. */
export interface SiteSpec {
  /** The site's name in the manifest. */
  readonly name: string;
  readonly provider: (typeof PROVIDERS)[number];
  /** The provider's own word for the place: `eu-central-1`, `europe-west3`, `fsn1`. */
  readonly location: string;
  /** AWS and GCP: two zones of the location. Hetzner: the one network zone that the location is in. */
  readonly zones: readonly string[];
  /** Relays at least, and for good where the provider has no autoscaling. */
  readonly relays: number;
  /** Relays at most; AWS and GCP add them when those there are busy. */
  readonly relaysMax: number;
  /** Size of the Redis disk, gigabytes. */
  readonly redisGb: number;
  /** GCP: the project's id. */
  readonly project?: string;
  /** The provider's own machine types, x86-64. */
  readonly sizes: Partial<Record<Role, string>>;
}

/** What a machine is for. */
export type Role = 'relay' | 'redis' | 'nameserver';

/** Where nodes get the program: the same bytes from any of these addresses. */
export interface Release {
  readonly sha256: string;
  readonly urls: readonly string[];
  /** The archive on the machine that runs Pulumi; uploaded where the provider has an object store. */
  readonly file?: string;
}

/** Content by name of the secret files of each role; docs/deploy.md says what they are. */
export type SecretFiles = Readonly<Record<Role, Readonly<Record<string, string>>>>;

export interface SiteOptions {
  /** Whether the static addresses, and what they cannot survive, are protected against deletion. */
  readonly isProtected: boolean;
  readonly release: Release;
  /** The operators' Ed25519 public key, base64url, and the oldest manifest that nodes believe. */
  readonly manifestKey: string;
  readonly manifestVersionMin: number;
  /** How long a new relay may take until it is alive, where nobody but us looks; 0: do not look. Seconds. */
  readonly rolloutTimeoutS: number;
  /** Settings of the nameserver's program that this stack has beside those that all have, by their full names. */
  readonly nameserverSettings: Readonly<Record<string, string>>;
  readonly secrets: SecretFiles;
}

export interface SiteModule {
  readonly createSite: (spec: SiteSpec, options: SiteOptions) => Site;
}

/** The same addresses inside every site; sites do not see each other's networks. */
export const SITE_NETWORK = '10.80.0.0/16';
export const SITE_SUBNETS: readonly [string, string] = ['10.80.0.0/24', '10.80.1.0/24'];
/** In the first subnet; fixed, so that a relay needs no discovery. */
export const REDIS_ADDRESS = '10.80.0.10';
export const REDIS_PORT = 6379;

/** On everything that can carry it, so that a bill or a console says what a thing is for. */
export function labelsOf(spec: SiteSpec): Record<string, string> {
  return { project: 'archipelago', site: spec.name };
}
