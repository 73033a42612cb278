/**
 * The stack's configuration, checked before any resource is registered: every fault at once, with its path and the
 * command that mends it. Pulumi itself checks no more than "a list", "an object".
 */
import { fail, ok, type Result } from '../system/result.ts';
import { type NameserverSettings, parseAcme } from './acme.ts';
import { Faults, fieldsOf, stringsOf } from './faults.ts';
import { parseRelease } from './release.ts';
import { parseSecrets } from './secret-files.ts';
import { PROVIDERS, type Release, type SecretFiles, type SiteSpec } from './site.ts';

export interface StackConfig {
  readonly sites: readonly SiteSpec[];
  readonly release: Release;
  readonly manifestKey: string;
  readonly manifestVersionMin: number;
  readonly isProtected: boolean;
  readonly nameserverSettings: NameserverSettings;
  /** How long a new relay may take until it is alive, where nobody but us looks; 0: do not look. Seconds. */
  readonly rolloutTimeoutS: number;
  /** By the name of the site. */
  readonly secrets: Readonly<Record<string, SecretFiles>>;
}

const SETTINGS = [
  'sites',
  'release',
  'manifestKey',
  'manifestVersionMin',
  'protect',
  'rolloutTimeout',
  'acme',
  'secrets',
] as const;

/** What the stack file says under `archipelago:`, before anything is believed. */
export type GivenConfig = Partial<Readonly<Record<(typeof SETTINGS)[number], unknown>>> & {
  /** Whether the stack file has `secrets` encrypted. */
  readonly areSecretsEncrypted: boolean;
};

/** Reads the settings as Pulumi has them: texts, some of which are JSON. What should be JSON and is not stays text. */
export function givenConfig(
  get: (name: string) => string | undefined,
  areSecretsEncrypted: boolean,
): GivenConfig {
  const given = SETTINGS.map((name) => [name, name === 'manifestKey' ? get(name) : jsonOf(get(name))]);
  return { ...Object.fromEntries(given), areSecretsEncrypted };
}

function jsonOf(text: string | undefined): unknown {
  try {
    return text === undefined ? undefined : JSON.parse(text);
  } catch {
    return text;
  }
}

const SITES_MAX = 16;
const ROLLOUT_TIMEOUT_S = 600;
const ROLLOUT_TIMEOUT_S_MAX = 3600;
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
  const { sites, named } = parseSites(given.sites, faults);
  const release = parseRelease(given.release, sites, faults);
  const manifestKey = typeof given.manifestKey === 'string' ? given.manifestKey : '';
  // The examples' key is no key: anybody can sign for it.
  if (!/^(?!A{43}$)[A-Za-z0-9_-]{43}$/.test(manifestKey)) {
    const problem = "expected the operators' Ed25519 public key, 43 characters of base64url";
    faults.add('manifestKey', problem, 'KEY');
  }
  const manifestVersionMin = wholeNumber(given.manifestVersionMin ?? 1, 1, Number.MAX_SAFE_INTEGER);
  if (manifestVersionMin === undefined) {
    faults.add('manifestVersionMin', 'expected a whole number from 1', '1');
  }
  const rolloutTimeoutS = wholeNumber(given.rolloutTimeout ?? ROLLOUT_TIMEOUT_S, 0, ROLLOUT_TIMEOUT_S_MAX);
  if (rolloutTimeoutS === undefined) {
    const problem = `expected seconds from 0 to ${ROLLOUT_TIMEOUT_S_MAX}; 0 goes on without looking`;
    faults.add('rolloutTimeout', problem, String(ROLLOUT_TIMEOUT_S));
  }
  const isProtected = given.protect ?? true;
  if (typeof isProtected !== 'boolean') faults.add('protect', 'expected true or false', 'true');
  const nameserverSettings = parseAcme(given.acme, faults);
  const hasAuthority = Object.keys(nameserverSettings).length > 0;
  const secrets = parseSecrets(given.secrets, named, hasAuthority, faults);
  if (!given.areSecretsEncrypted && fieldsOf(given.secrets).size > 0) {
    faults.found.push(
      'archipelago:secrets: in clear in the stack file; make new ones, run pulumi config rm archipelago:secrets, ' +
        "and set each with pulumi config set --secret --path 'archipelago:secrets.SITE.ROLE.FILE' < FILE",
    );
  }
  return faults.found.length > 0 ||
    release === undefined ||
    manifestVersionMin === undefined ||
    rolloutTimeoutS === undefined ||
    typeof isProtected !== 'boolean'
    ? fail(faults.found)
    : ok({
        sites,
        release,
        manifestKey,
        manifestVersionMin,
        isProtected,
        rolloutTimeoutS,
        nameserverSettings,
        secrets,
      });
}

/** What the secrets are checked by, also when something else is wrong with the site. */
type NamedSite = Pick<SiteSpec, 'name' | 'provider'>;

interface ParsedSites {
  readonly sites: readonly SiteSpec[];
  readonly named: readonly NamedSite[];
}

function parseSites(value: unknown, faults: Faults): ParsedSites {
  const sites: SiteSpec[] = [];
  const named: NamedSite[] = [];
  if (!Array.isArray(value) || value.length === 0 || value.length > SITES_MAX) {
    faults.add('sites[0].name', `expected a list of 1 to ${SITES_MAX} sites`, 'aws');
    return { sites, named };
  }
  for (const [index, item] of value.entries()) {
    const spec = parseSite(`sites[${index}]`, fieldsOf(item), named, faults);
    if (spec !== undefined) sites.push(spec);
  }
  return { sites, named };
}

function parseSite(
  at: string,
  given: ReadonlyMap<string, unknown>,
  others: NamedSite[],
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
  if (name !== '' && others.some((other) => other.name === name)) {
    faults.add(`${at}.name`, `"${name}" is used twice`, `${name}-2`);
  }
  const provider = PROVIDERS.find((known) => known === given.get('provider'));
  if (name !== '' && provider !== undefined) others.push({ name, provider });
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

/** `pulumi config set --path` writes numbers as numbers, and some versions of it as text. */
function wholeNumber(value: unknown, min: number, max: number): number | undefined {
  const number = typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value;
  return typeof number === 'number' && Number.isInteger(number) && number >= min && number <= max
    ? number
    : undefined;
}
