/**
 * The zone: answer + manifest → records, as data.
 *
 *   <zone>            A, AAAA   the answer: failed over, short computed TTL, rotated (rotation.ts)
 *                     NS, SOA   every site's nameserver; this nameserver first of all
 *   <site>.<zone>     A, AAAA   that site's relays, always: for clients that choose a site themselves
 *   ns-<site>.<zone>  A, AAAA   that site's nameserver
 *   …                           what the operators added in the manifest, such as CAA and HTTPS
 *
 * A and AAAA of the apex come from one answer, so they never disagree. There are no wildcards.
 */
import type { Manifest, SiteName } from '../../fleet/manifest/manifest.ts';
import { TYPE } from '../dns/message.ts';
import { parseRecordData, textData } from '../dns/record-data.ts';
import { zoneKeyFaults, zoneKeyRecords } from '../dns/zone-keys.ts';
import { type Answer, answerWithAll } from './failover.ts';
import { ordersOf, type WarmShares } from './rotation.ts';
import { FAMILIES, type Family, keyOf } from './target.ts';

export type RecordSet =
  | {
      readonly type: 'A' | 'AAAA';
      readonly ttlSeconds: number;
      /** What signatures state: the longest that the TTL can be, so one signature serves for every TTL. */
      readonly signedTtlSeconds: number;
      /** The same service in several orders; each response takes one of them. Never empty. */
      readonly variants: readonly (readonly string[])[];
    }
  | { readonly type: 'NS'; readonly ttlSeconds: number; readonly names: readonly string[] }
  | { readonly type: 'SOA'; readonly ttlSeconds: number; readonly soa: Soa }
  | {
      readonly type: 'other';
      readonly number: number;
      readonly ttlSeconds: number;
      readonly data: readonly Uint8Array[];
      /** RRSIG data made elsewhere; absent: this nameserver signs the set. */
      readonly signatures?: readonly Uint8Array[];
    };

/** RFC 1035 §3.3.13; times in seconds. */
export interface Soa {
  readonly primary: string;
  readonly contact: string;
  readonly serial: number;
  readonly refreshSeconds: number;
  readonly retrySeconds: number;
  readonly expireSeconds: number;
  /** How long "no such name" and "no such type" may be cached (RFC 2308). */
  readonly negativeTtlSeconds: number;
}

export interface Zone {
  /** Lower case, without the final dot, as all names here. */
  readonly apex: string;
  readonly soa: Soa;
  readonly names: ReadonlyMap<string, readonly RecordSet[]>;
}

export interface ZoneInput {
  readonly manifest: Manifest;
  /** The site whose nameserver serves this zone. */
  readonly self: SiteName;
  readonly answer: Answer;
  readonly ttlSeconds: number;
  /** Of the sites that are warming up; absent when none is. */
  readonly shares?: WarmShares;
  /** What sites prove to certificate authorities now; absent: nothing. */
  readonly challenges?: readonly ChallengeRecords[];
}

/** TXT values at a name below the zone; several sites may publish at one. */
export interface ChallengeRecords {
  readonly name: string;
  readonly values: readonly string[];
}

const SITE_TTL_SECONDS = 300;
const NAMESERVER_TTL_SECONDS = 3600;
const NAMESERVER_PREFIX = 'ns-';
/** RFC 1035 §2.3.4 allows 255 bytes, two more than the text has; two go to the wildcard that is denied below a name. */
const OWNER_LENGTH_MAX = 251;
const POSSIBLE_ANSWERS_MAX = 4096;
/** Certificate authorities ask once; a value of last time must not be in the way of the next. */
const CHALLENGE_TTL_SECONDS = 1;
const CHALLENGE_LABEL = '_acme-challenge';

/** The host name of a site's nameserver. */
export function nameserverName(manifest: Pick<Manifest, 'zone'>, site: SiteName): string {
  return `${NAMESERVER_PREFIX}${site}.${manifest.zone}`;
}

/** Why this manifest makes no zone: sentences, none when it does. */
export function zoneFaults(manifest: Manifest): readonly string[] {
  const collisions = manifest.sites
    .filter((site) => site.name.startsWith(NAMESERVER_PREFIX))
    .map(
      (site) =>
        `manifest.sites: the name ${JSON.stringify(site.name)} begins with "${NAMESERVER_PREFIX}", which nameservers use`,
    );
  const { records = [] } = manifest;
  const malformed = records.flatMap(({ name, type, data }, index) =>
    data.flatMap((text) => {
      const parsed = parseRecordData(type, text);
      return parsed.ok ? [] : [`manifest.records[${index}] (${name} ${type}): ${parsed.fault}`];
    }),
  );
  const keys = records.map(({ name, type }) => `${name} ${type}`);
  const repeated = keys
    .filter((key, index) => keys.indexOf(key) !== index)
    .map(
      (key) => `manifest.records: the set ${JSON.stringify(key)} is listed twice; list its data in one set`,
    );
  const reserved = records
    .filter(({ name }) => name.split('.')[0] === CHALLENGE_LABEL)
    .map(({ name }) => `manifest.records: ${name} is the sites' own, for certificate authorities`);
  const tooLong = records
    .map(({ name }) => `${name}.${manifest.zone}`)
    .filter((owner) => owner.length > OWNER_LENGTH_MAX)
    .map((owner) => `manifest.records: ${owner} is longer than ${OWNER_LENGTH_MAX} characters`);
  return [...collisions, ...malformed, ...repeated, ...reserved, ...tooLong, ...zoneKeyFaults(manifest)];
}

/** All records that this nameserver serves while `answer` holds. */
export function zoneFrom(input: ZoneInput): Zone {
  const { manifest, self, answer } = input;
  const soa: Soa = {
    primary: nameserverName(manifest, self),
    contact: `hostmaster.${manifest.zone}`,
    serial: zoneSerial(manifest.version, answer.generation),
    refreshSeconds: 3600,
    retrySeconds: 600,
    expireSeconds: 604_800,
    negativeTtlSeconds: manifest.health.ttlMinSeconds,
  };
  const names = new Map<string, readonly RecordSet[]>();
  names.set(manifest.zone, [
    ...FAMILIES.flatMap((family) => answerSet(input, family)),
    {
      type: 'NS',
      ttlSeconds: NAMESERVER_TTL_SECONDS,
      names: manifest.sites.map((site) => nameserverName(manifest, site.name)),
    },
    { type: 'SOA', ttlSeconds: NAMESERVER_TTL_SECONDS, soa },
    ...zoneKeySets(manifest),
  ]);
  for (const site of manifest.sites) {
    names.set(`${site.name}.${manifest.zone}`, [
      ...addressSet('A', SITE_TTL_SECONDS, site.relay.ipv4),
      ...addressSet('AAAA', SITE_TTL_SECONDS, site.relay.ipv6),
    ]);
    names.set(nameserverName(manifest, site.name), [
      ...addressSet('A', NAMESERVER_TTL_SECONDS, listOf(site.vantage.ipv4)),
      ...addressSet('AAAA', NAMESERVER_TTL_SECONDS, listOf(site.vantage.ipv6)),
    ]);
  }
  for (const { name, set } of [...extraSets(manifest), ...challengeSets(input)]) {
    const owner = name === '' ? manifest.zone : `${name}.${manifest.zone}`;
    names.set(owner, [...(names.get(owner) ?? []), set]);
  }
  return { apex: manifest.zone, soa, names };
}

/**
 * The serial: manifest version · 2^16 + generation, modulo 2^32. It grows with each of the two, in the sense of
 * RFC 1982. A nameserver that lost its state begins again with a low generation; the next manifest puts it ahead.
 */
export function zoneSerial(manifestVersion: number, generation: number): number {
  return (((manifestVersion % 2 ** 16) * 2 ** 16 + (generation % 2 ** 32)) % 2 ** 32) >>> 0;
}

/** A record set and its name below the zone, empty for the zone itself. */
interface NamedSet {
  readonly name: string;
  readonly set: RecordSet;
}

/** The operators' own records; what `zoneFaults` complains of is left out. */
function extraSets(manifest: Manifest): readonly NamedSet[] {
  return (manifest.records ?? []).flatMap(({ name, type, ttlSeconds, data }) => {
    const parsed = data.flatMap((text) => {
      const one = parseRecordData(type, text);
      return one.ok ? [one.value] : [];
    });
    const [first] = parsed;
    if (first === undefined) return [];
    return [
      {
        name,
        set: {
          type: 'other',
          number: first.type,
          ttlSeconds,
          data: parsed.map(({ bytes }) => bytes),
        } as const,
      },
    ];
  });
}

function challengeSets({ challenges = [] }: ZoneInput): readonly NamedSet[] {
  const byName = Map.groupBy(challenges, ({ name }) => name);
  return [...byName].map(([name, parts]) => {
    const values = [...new Set(parts.flatMap((part) => part.values))];
    const ttlSeconds = CHALLENGE_TTL_SECONDS;
    return { name, set: { type: 'other', number: TYPE.TXT, ttlSeconds, data: values.map(textData) } };
  });
}

function zoneKeySets({ zone, zoneKeys }: Manifest): readonly RecordSet[] {
  if (zoneKeys === undefined) return [];
  const { ttlSeconds } = zoneKeys;
  return [{ type: 'other', number: TYPE.DNSKEY, ttlSeconds, ...zoneKeyRecords(zone, zoneKeys) }];
}

/**
 * Every set of addresses that the apex may ever have, those with the fewest sites missing first; at most 4,096 of
 * each family, which are all of them for twelve sites.
 */
export function* possibleAnswers(manifest: Manifest): Generator<RecordSet> {
  for (const family of FAMILIES) {
    const targets = manifest.sites
      .filter((site) => site.relay[family].length > 0)
      .map((site) => keyOf({ site: site.name, family }));
    const subsets = Array.from({ length: 2 ** targets.length - 1 }, (_, missing) => missing)
      .sort((a, b) => bitsIn(a) - bitsIn(b))
      .slice(0, POSSIBLE_ANSWERS_MAX);
    for (const missing of subsets) {
      const left = targets.filter((_, index) => (missing & (1 << index)) === 0);
      const answer = { ...answerWithAll(manifest, 0), targets: left };
      yield* answerSet({ manifest, answer, ttlSeconds: manifest.health.ttlMaxSeconds }, family);
    }
  }
}

function bitsIn(value: number): number {
  return value.toString(2).replaceAll('0', '').length;
}

function answerSet(
  { manifest, answer, ttlSeconds, shares = new Map() }: Omit<ZoneInput, 'self'>,
  family: Family,
): readonly RecordSet[] {
  const variants = ordersOf(manifest, answer, family, shares);
  if (variants.length === 0) return [];
  const type = family === 'ipv4' ? 'A' : 'AAAA';
  return [{ type, ttlSeconds, signedTtlSeconds: manifest.health.ttlMaxSeconds, variants }];
}

function addressSet(
  type: 'A' | 'AAAA',
  ttlSeconds: number,
  addresses: readonly string[],
): readonly RecordSet[] {
  if (addresses.length === 0) return [];
  const variants = addresses.map((_, start) => [...addresses.slice(start), ...addresses.slice(0, start)]);
  return [{ type, ttlSeconds, signedTtlSeconds: ttlSeconds, variants }];
}

function listOf<Item>(item: Item | null | undefined): readonly Item[] {
  return item === null || item === undefined ? [] : [item];
}
