/**
 * The script that every machine of every site runs at boot: infra/boot.sh with the settings of one machine in front.
 *
 * One text for all providers, within the smallest limit among them, so that a site can move from one to another.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundleOf } from './secret-files.ts';
import { REDIS_ADDRESS, REDIS_PORT, type Role, type SiteOptions, type SiteSpec } from './site.ts';

/** AWS takes 16 KiB of user data, GCP 256 KiB of a metadata value, Hetzner 32 KiB. */
export const BOOT_BYTES_MAX = 16_384;
const HETZNER_BYTES_MAX = 32_768;

/** Port of a nameserver on which it also gives out the manifest. */
const VOTE_PORT = 443;

/** Port of /livez on the machine; docs/configuration.md says why it is never a public one. */
export const PRIVATE_PORT = 9100;

/** Where a machine gets its secret files: the provider's store, or, where there is none, the script itself. */
type SecretsFrom =
  | { readonly kind: 'aws' | 'gcp'; readonly name: string; readonly region: string }
  | { readonly kind: 'inline' };

export interface BootPlan {
  readonly role: Role;
  readonly spec: SiteSpec;
  readonly options: SiteOptions;
  readonly secretsFrom: SecretsFrom;
  /** Whether a health checker of the provider looks at /livez from outside the machine. */
  readonly isLivezWatched?: boolean;
  /** The disk of Redis: its path on the machine. */
  readonly disk?: string;
  /** Address of the own site's nameserver: where a relay asks for its manifest first. */
  readonly manifestFrom?: string;
  /** Where Pulumi put the release, if it did: `s3://BUCKET/KEY` or `gs://BUCKET/OBJECT`, read with the machine's role. */
  readonly ownRelease?: string;
  /** The AWS group that waits for a word from the machine. */
  readonly group?: string;
}

/** Lines that are comments stay behind: they would take a sixth of what AWS gives. No document within the script has any. */
const BODY = readFileSync(join(import.meta.dirname, 'boot.sh'), 'utf8').replace(/^ *#.*\n/gm, '');
/** Runs before each start of Redis. */
const SET_ASIDE = readFileSync(join(import.meta.dirname, 'set-aside.sh'), 'utf8');

/** Renders the script. Throws an Error that names the site when it is larger than its provider takes. */
export function renderBoot(plan: BootPlan): string {
  const { role, spec, options, secretsFrom } = plan;
  const files = options.secrets[role];
  const host = plan.isLivezWatched === true ? '0.0.0.0' : '127.0.0.1';
  const settings: Readonly<Record<string, string>> = {
    ROOT: '',
    ROLE: role,
    SITE: spec.name,
    REGION: secretsFrom.kind === 'inline' ? '' : secretsFrom.region,
    ...programOf(plan),
    SECRETS_FROM: secretsFrom.kind,
    SECRETS: secretsFrom.kind === 'inline' ? bundleOf(files) : secretsFrom.name,
    PRIVATE_LISTEN: `${host}:${PRIVATE_PORT}`,
    LIVEZ: `http://127.0.0.1:${PRIVATE_PORT}/livez`,
    REDIS: `${REDIS_ADDRESS}:${REDIS_PORT}`,
    DISK: plan.disk ?? '',
    DISK_KEY: files['disk-key'] === undefined ? '' : '/etc/archipelago/secret/disk-key',
    GROUP: plan.group ?? '',
    SET_ASIDE: role === 'redis' ? SET_ASIDE : '',
  };
  const head = Object.entries(settings).map(([name, value]) => `${name}=${quote(value)}`);
  const script = ['#!/bin/sh', ...head, BODY].join('\n');
  const bytesMax = spec.provider === 'hetzner' ? HETZNER_BYTES_MAX : BOOT_BYTES_MAX;
  if (Buffer.byteLength(script) > bytesMax) {
    throw new Error(
      `The ${role} of site ${spec.name} has a boot script of more than ${bytesMax} bytes: ` +
        'give it shorter secret files, such as a certificate chain without its root.',
    );
  }
  return script;
}

/** What a machine runs. A Redis is Debian's, and must not be replaced because there is a new release or key. */
function programOf(plan: BootPlan): Readonly<Record<string, string>> {
  const { role, options, ownRelease = '' } = plan;
  const isOurs = role !== 'redis';
  return {
    RELEASE_SHA256: isOurs ? options.release.sha256 : '',
    RELEASE_URLS: isOurs ? [ownRelease, ...options.release.urls].join(' ').trim() : '',
    MANIFEST_KEY: isOurs ? options.manifestKey : '',
    MANIFEST_VERSION_MIN: isOurs ? String(options.manifestVersionMin) : '',
    SETTINGS: settingsOf(plan),
  };
}

/** Lines of the program's environment that only this stack has. */
function settingsOf({ role, options, manifestFrom = '' }: BootPlan): string {
  const address = manifestFrom.includes(':') ? `[${manifestFrom}]` : manifestFrom;
  const first = address === '' ? {} : { RELAY_MANIFEST_FROM: `${address}:${VOTE_PORT}` };
  const settings = role === 'nameserver' ? options.nameserverSettings : first;
  return Object.entries(settings)
    .map(([name, value]) => `${name}=${value}`)
    .join('\n');
}

/** As one word of a shell. */
function quote(value: string): string {
  return `'${value.replaceAll("'", `'\\''`)}'`;
}
