/**
 * The stack's configuration, checked before any resource is registered: every fault at once, with its path and the
 * command that mends it. Pulumi itself checks no more than "a list", "an object".
 */
import { fail, ok, type Result } from '../system/result.ts';
import { Faults, fieldsOf } from './faults.ts';
import { parseSecrets } from './secret-files.ts';
import { PROVIDERS, type Release, type SecretFiles, type SiteSpec } from './site.ts';

export interface StackConfig {
  readonly sites: readonly SiteSpec[];
  readonly release: Release;
  readonly manifestKey: string;
  readonly manifestVersionMin: number;
  /** By the name of the site. */
  readonly secrets: Readonly<Record<string, SecretFiles>>;
}

/** What the stack file says under `archipelago:`, before anything is believed. */
export type GivenConfig = Readonly<Record<keyof StackConfig, unknown>>;

const SITES_MAX = 16;
const URLS_MAX = 8;
const SITE_FIELDS = [
  'name',
  'provider',
  'location',
  'zones',
  'relays',
  'relaysMax',
  'redisGb',
  'project',
  'relaySize',
  'redisSize',
  'nameserverSize',
];

/** The whole configuration, or every fault that is in it. */
export function parseConfig(given: GivenConfig): Result<StackConfig, readonly string[]> {
  const faults = new Faults();
  const sites = parseSites(given.sites, faults);
  const release = parseRelease(given.release, faults);
  const manifestKey = typeof given.manifestKey === 'string' ? given.manifestKey : '';
  if (!/^[A-Za-z0-9_-]{43}$/.test(manifestKey)) {
    faults.add(
      'manifestKey',
      "expected the operators' Ed25519 public key, 43 characters of base64url",
      'KEY',
    );
  }
  const manifestVersionMin = wholeNumber(given.manifestVersionMin ?? 1, 1, Number.MAX_SAFE_INTEGER);
  if (manifestVersionMin === undefined) {
    faults.add('manifestVersionMin', 'expected a whole number from 1', '1');
  }
  const secrets = parseSecrets(given.secrets, sites, faults);
  return faults.found.length > 0 || release === undefined || manifestVersionMin === undefined
    ? fail(faults.found)
    : ok({ sites, release, manifestKey, manifestVersionMin, secrets });
}

function parseRelease(value: unknown, faults: Faults): Release | undefined {
  const given = fieldsOf(value);
  faults.unknownFields('release', given, ['sha256', 'urls']);
  const sha256 = given.get('sha256');
  const urls = stringsOf(given.get('urls'));
  if (typeof sha256 !== 'string' || !/^[0-9a-f]{64}$/.test(sha256)) {
    faults.add('release.sha256', 'expected the SHA-256 of the release, 64 hexadecimal digits', 'SHA256');
    return undefined;
  }
  // Spaces and quotes would leave the words of the shell in which these are used.
  const isFit = urls.every((url) => /^https?:\/\/[A-Za-z0-9._~:/?#@!&()*+,;=%[\]-]{1,1000}$/.test(url));
  if (urls.length === 0 || urls.length > URLS_MAX || !isFit) {
    const problem = `expected 1 to ${URLS_MAX} addresses of the release, own provider first`;
    faults.add('release.urls[0]', problem, 'https://example.com/archipelago.tar.gz');
    return undefined;
  }
  return { sha256, urls };
}

function parseSites(value: unknown, faults: Faults): readonly SiteSpec[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > SITES_MAX) {
    faults.add('sites[0].name', `expected a list of 1 to ${SITES_MAX} sites`, 'aws');
    return [];
  }
  const specs: SiteSpec[] = [];
  for (const [index, item] of value.entries()) {
    const spec = parseSite(`sites[${index}]`, fieldsOf(item), specs, faults);
    if (spec !== undefined) specs.push(spec);
  }
  return specs;
}

function parseSite(
  at: string,
  given: ReadonlyMap<string, unknown>,
  others: readonly SiteSpec[],
  faults: Faults,
): SiteSpec | undefined {
  const before = faults.found.length;
  faults.unknownFields(at, given, SITE_FIELDS);
  const word = (field: string, pattern: RegExp, expected: string, example: string): string => {
    const value = given.get(field);
    if (typeof value === 'string' && pattern.test(value)) return value;
    faults.add(`${at}.${field}`, `expected ${expected}`, example);
    return '';
  };
  const count = (field: string, min: number, max: number, fallback: number): number => {
    const value = wholeNumber(given.get(field) ?? fallback, min, max);
    if (value !== undefined) return value;
    faults.add(`${at}.${field}`, `expected a whole number from ${min} to ${max}`, String(fallback));
    return fallback;
  };
  const name = word('name', /^[a-z][a-z0-9-]{0,15}$/, '1 to 16 of a-z 0-9 -, beginning with a letter', 'aws');
  if (name !== '' && others.some((spec) => spec.name === name)) {
    faults.add(`${at}.name`, `"${name}" is used twice`, `${name}-2`);
  }
  const provider = PROVIDERS.find((known) => known === given.get('provider'));
  if (provider === undefined) faults.add(`${at}.provider`, `expected ${PROVIDERS.join(', ')}`, 'aws');
  const location = word('location', /^[a-z][a-z0-9-]{1,31}$/, "the provider's name of a region", 'fsn1');
  const zones = provider === undefined ? [] : zonesOf(at, provider, given.get('zones'), faults);
  const relays = count('relays', 2, 32, 2);
  const relaysMax = count('relaysMax', relays, 64, provider === 'hetzner' ? relays : relays * 2);
  if (provider === 'hetzner' && relaysMax !== relays) {
    faults.add(`${at}.relaysMax`, 'Hetzner has no autoscaling; expected the same as relays', String(relays));
  }
  const redisGb = count('redisGb', 10, 10_000, 20);
  const project =
    provider === 'gcp' ? word('project', /^[a-z][a-z0-9-]{4,28}[a-z0-9]$/, "the project's id", 'ID') : '';
  const sizes: Partial<Record<'relay' | 'redis' | 'nameserver', string>> = {};
  for (const role of ['relay', 'redis', 'nameserver'] as const) {
    const field = `${role}Size`;
    if (given.has(field))
      sizes[role] = word(field, /^[a-z][a-z0-9.-]{1,31}$/, 'a machine type, x86-64', 'TYPE');
  }
  if (provider === undefined || faults.found.length > before) return undefined;
  const spec = { name, provider, location, zones, relays, relaysMax, redisGb, sizes };
  return project === '' ? spec : { ...spec, project };
}

function zonesOf(
  at: string,
  provider: SiteSpec['provider'],
  value: unknown,
  faults: Faults,
): readonly string[] {
  const zones = stringsOf(value);
  const [needed, expected, example] = {
    aws: [2, 'two availability zones', 'eu-central-1a'] as const,
    gcp: [2, 'two zones', 'europe-west3-a'] as const,
    hetzner: [1, 'the network zone', 'eu-central'] as const,
  }[provider];
  const isFit = zones.every((zone) => /^[a-z][a-z0-9-]{1,31}$/.test(zone));
  if (zones.length !== needed || new Set(zones).size !== needed || !isFit) {
    faults.add(
      `${at}.zones[0]`,
      `expected ${expected} of the location in ${at}.zones, as [0]${needed > 1 ? ' and [1]' : ''}`,
      example,
    );
  }
  return zones;
}

function stringsOf(value: unknown): readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string') ? value : [];
}

/** `pulumi config set --path` writes numbers as numbers, and some versions of it as text. */
function wholeNumber(value: unknown, min: number, max: number): number | undefined {
  const number = typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value;
  return typeof number === 'number' && Number.isInteger(number) && number >= min && number <= max
    ? number
    : undefined;
}
