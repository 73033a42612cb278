/**
 * The manifest: the signed, versioned description of the fleet, and the only source of addresses and keys that a
 * node believes. No provider owns it: it is a compact JWS (RFC 7515, EdDSA) by the operators' offline key.
 *
 * Parsing is whole or not at all, and the result is what everything else reads; nothing dials an address that is
 * not in it.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { CompactSign, compactVerify, importJWK, type JWK } from 'jose';
import { describeError } from '../system/log.ts';
import { fail, ok, type Result } from '../system/result.ts';

export type SiteName = string;

/** How vantages judge sites; the same for every vantage of the fleet. Times in milliseconds, TTLs in seconds. */
export interface HealthPolicy {
  readonly probeIntervalMs: number;
  readonly probeTimeoutMs: number;
  /** Failures, not forgiven by `okAfter` successes in a row, that turn a verdict down. */
  readonly downAfter: number;
  /** Successes in a row that forgive earlier failures while the verdict is up. */
  readonly okAfter: number;
  /** Successes in a row that turn a verdict up again. */
  readonly upAfter: number;
  /** A vote older than this, by the receiver's monotonic clock, is no vote. */
  readonly voteFreshMs: number;
  /** At most one provider is withdrawn from the answer within this window. */
  readonly withdrawalWindowMs: number;
  readonly ttlMinSeconds: number;
  readonly ttlMaxSeconds: number;
}

export interface SiteEntry {
  readonly name: SiteName;
  /** The company that can fail or evict as a whole; two sites may share one. */
  readonly provider: string;
  readonly relay: {
    readonly ipv4: readonly string[];
    readonly ipv6: readonly string[];
    /** SHA-256 pins of the keys that this site's relays show to peers, base64url. */
    readonly pins: readonly string[];
  };
  readonly vantage: {
    readonly ipv4: string | null;
    readonly ipv6: string | null;
    /** Where its nameserver answers, UDP and TCP; 53 in production. */
    readonly dnsPort: number;
    /** Where other vantages post their votes. */
    readonly votePort: number;
    readonly pins: readonly string[];
    /** Ed25519 public key that signs its votes, 32 bytes as base64url. */
    readonly voteKey: string;
  };
}

/** A record set of the operators' own: proof of ownership, CAA, HTTPS and the like. */
interface ExtraRecordSet {
  /** Below the zone, such as `_mta-sts`; empty for the zone itself. */
  readonly name: string;
  /** `TXT`, `CAA`, `HTTPS`, or any other by number, such as `TYPE52` (RFC 3597). */
  readonly type: string;
  readonly ttlSeconds: number;
  /** In presentation format, one text for each record: docs/configuration-vantage.md. */
  readonly data: readonly string[];
}

/** A DNSKEY with algorithm 13, ECDSA P-256 with SHA-256 (RFC 6605). */
interface ZoneKey {
  /** The site whose nameserver signs with it, or null for a key of the operators, which signs only this set. */
  readonly site: SiteName | null;
  /** The point without its prefix, 64 bytes as base64url. */
  readonly publicKey: string;
}

/** The zone's DNSKEY set and what the operators' offline keys signed over it (RFC 8901: one signing key per site). */
interface ZoneKeySet {
  readonly ttlSeconds: number;
  readonly keys: readonly ZoneKey[];
  readonly signatures: readonly {
    readonly keyTag: number;
    /** Seconds since 1970, below 2^32. */
    readonly inceptionSeconds: number;
    readonly expirationSeconds: number;
    /** 64 bytes as base64url. */
    readonly signature: string;
  }[];
}

export interface Manifest {
  readonly format: 1;
  /** Grows with every signed change; a node never goes back. */
  readonly version: number;
  /** The delegated zone and canonical name of the service, lower case, without the final dot. */
  readonly zone: string;
  /** TCP port at which every relay serves clients and peers; 443 in production, since A records carry no port. */
  readonly port: number;
  readonly sites: readonly SiteEntry[];
  readonly health: HealthPolicy;
  /** Records beside those of the fleet itself; absent: none. */
  readonly records?: readonly ExtraRecordSet[];
  /** Absent: the zone is not signed. */
  readonly zoneKeys?: ZoneKeySet;
}

/** The default profile. Reasons and bounds: docs/configuration.md. */
export const DEFAULT_HEALTH_POLICY: HealthPolicy = {
  probeIntervalMs: 2000,
  probeTimeoutMs: 1000,
  downAfter: 3,
  okAfter: 5,
  upAfter: 10,
  voteFreshMs: 6000,
  withdrawalWindowMs: 60_000,
  ttlMinSeconds: 5,
  ttlMaxSeconds: 60,
};

const SITES_MAX = 16;
const EXTRA_RECORD_SETS_MAX = 64;
const EXTRA_RECORDS_MAX = 16;
/** Two for each site while one is replaced, and as many for the operators. */
const ZONE_KEYS_MAX = 2 * SITES_MAX + 2;
const DAY_SECONDS = 86_400;
const UINT32_MAX = 2 ** 32 - 1;

/** `https://relay.example.com`, with the port when it is not 443. */
export function canonicalOrigin(manifest: Pick<Manifest, 'zone' | 'port'>): string {
  return originOf(manifest.zone, manifest.port);
}

/** `https://aws.relay.example.com`: this one site, never failed over; also the audience of mailbox tokens. */
export function siteOrigin(manifest: Pick<Manifest, 'zone' | 'port'>, site: SiteName): string {
  return originOf(`${site}.${manifest.zone}`, manifest.port);
}

/** The name in a peer's ClientHello that leads to the peer service of a site's relays. */
export function peerServerName(manifest: Pick<Manifest, 'zone'>, site: SiteName): string {
  return `peer.${site}.${manifest.zone}`;
}

function originOf(host: string, port: number): string {
  return port === 443 ? `https://${host}` : `https://${host}:${port}`;
}

/** Signs with the operators' private key, an Ed25519 JWK that contains `d`. Gives the compact JWS. */
export async function signManifest(manifest: Manifest, privateJwk: JWK): Promise<string> {
  const key = await importJWK(privateJwk, 'EdDSA');
  return new CompactSign(new TextEncoder().encode(JSON.stringify(manifest)))
    .setProtectedHeader({ alg: 'EdDSA', typ: 'archipelago-manifest+json' })
    .sign(key);
}

/**
 * Verifies and parses a signed manifest. `publicKey` is the operators' Ed25519 key, 32 bytes as base64url;
 * a version below `versionMin` is refused. Every fault is a sentence.
 */
export async function openManifest(
  signed: string,
  publicKey: string,
  versionMin: number,
): Promise<Result<Manifest, readonly string[]>> {
  let payload: unknown;
  try {
    const key = await importJWK({ kty: 'OKP', crv: 'Ed25519', x: publicKey }, 'EdDSA');
    const opened = await compactVerify(signed.trim(), key, { algorithms: ['EdDSA'] });
    payload = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(opened.payload));
  } catch (error) {
    return fail([`manifest: not signed by the operators' key (${describeError(error)})`]);
  }
  const parsed = parseManifest(payload);
  if (parsed.ok && parsed.value.version < versionMin) {
    return fail([
      `manifest: version ${parsed.value.version} is older than the oldest accepted, ${versionMin}`,
    ]);
  }
  return parsed;
}

/** Checks every field and every relation between fields; gives all faults at once. */
export function parseManifest(value: unknown): Result<Manifest, readonly string[]> {
  const faults: string[] = [];
  const at = new Reader(value, 'manifest', faults);
  if (at.number('format', 1, 1) !== 1) return fail(faults);
  const manifest: Manifest = {
    format: 1,
    version: at.number('version', 1, Number.MAX_SAFE_INTEGER),
    zone: at.string('zone', /^(?=.{1,200}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}$/),
    port: at.number('port', 1, 65_535),
    sites: at.list('sites', 1, SITES_MAX).map(readSite),
    health: readHealth(at.child('health')),
    ...(at.has('records')
      ? { records: at.list('records', 0, EXTRA_RECORD_SETS_MAX).map(readExtraRecordSet) }
      : {}),
    ...(at.has('zoneKeys') ? { zoneKeys: readZoneKeys(at.child('zoneKeys')) } : {}),
  };
  at.onlyTheseKeys();
  const names = new Set<string | null>([null, ...manifest.sites.map((site) => site.name)]);
  for (const { site } of manifest.zoneKeys?.keys ?? []) {
    if (!names.has(site)) faults.push(`manifest.zoneKeys: there is no site ${JSON.stringify(site)}`);
  }
  const seen = new Set<string>();
  for (const site of manifest.sites) {
    for (const value of [site.name, ...site.relay.pins, ...site.vantage.pins, site.vantage.voteKey]) {
      if (seen.has(value)) faults.push(`manifest.sites: ${JSON.stringify(value)} is listed twice`);
      seen.add(value);
    }
  }
  return faults.length === 0 ? ok(manifest) : fail(faults);
}

const PIN = /^[A-Za-z0-9_-]{43}$/;
const SITE_NAME = /^[a-z][a-z0-9-]{0,15}$/;

function readSite(at: Reader): SiteEntry {
  const relay = at.child('relay');
  const vantage = at.child('vantage');
  const site: SiteEntry = {
    name: at.string('name', SITE_NAME),
    provider: at.string('provider', /^[a-z][a-z0-9-]{0,31}$/),
    relay: {
      ipv4: relay.strings('ipv4', 0, 8, isIPv4),
      ipv6: relay.strings('ipv6', 0, 8, isIPv6),
      pins: relay.strings('pins', 1, 4, (text) => PIN.test(text)),
    },
    vantage: {
      ipv4: vantage.nullable('ipv4', isIPv4),
      ipv6: vantage.nullable('ipv6', isIPv6),
      dnsPort: vantage.number('dnsPort', 1, 65_535),
      votePort: vantage.number('votePort', 1, 65_535),
      pins: vantage.strings('pins', 1, 4, (text) => PIN.test(text)),
      voteKey: vantage.string('voteKey', PIN),
    },
  };
  if (site.relay.ipv4.length + site.relay.ipv6.length === 0) relay.fault('ipv4', 'at least one address');
  if (site.vantage.ipv4 === null && site.vantage.ipv6 === null) vantage.fault('ipv4', 'at least one address');
  for (const reader of [relay, vantage, at]) reader.onlyTheseKeys();
  return site;
}

function readHealth(at: Reader): HealthPolicy {
  const policy: HealthPolicy = {
    probeIntervalMs: at.number('probeIntervalMs', 100, 60_000),
    probeTimeoutMs: at.number('probeTimeoutMs', 50, 30_000),
    downAfter: at.number('downAfter', 1, 100),
    okAfter: at.number('okAfter', 1, 100),
    upAfter: at.number('upAfter', 1, 1000),
    voteFreshMs: at.number('voteFreshMs', 200, 600_000),
    withdrawalWindowMs: at.number('withdrawalWindowMs', 0, 3_600_000),
    ttlMinSeconds: at.number('ttlMinSeconds', 1, 3600),
    ttlMaxSeconds: at.number('ttlMaxSeconds', 1, 86_400),
  };
  if (policy.probeTimeoutMs >= policy.probeIntervalMs)
    at.fault('probeTimeoutMs', 'less than probeIntervalMs');
  if (policy.voteFreshMs < 2 * policy.probeIntervalMs) {
    at.fault('voteFreshMs', 'at least twice probeIntervalMs');
  }
  if (policy.ttlMinSeconds > policy.ttlMaxSeconds) at.fault('ttlMinSeconds', 'at most ttlMaxSeconds');
  at.onlyTheseKeys();
  return policy;
}

function readExtraRecordSet(at: Reader): ExtraRecordSet {
  const set: ExtraRecordSet = {
    name: at.string('name', /^(?=.{0,100}$)([a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*)?$/),
    type: at.string('type', /^(TXT|CAA|HTTPS|TYPE[1-9]\d{0,4})$/),
    ttlSeconds: at.number('ttlSeconds', 1, DAY_SECONDS),
    data: at.strings('data', 1, EXTRA_RECORDS_MAX, (text) => text.length <= 4096),
  };
  at.onlyTheseKeys();
  return set;
}

const P256_BYTES = /^[A-Za-z0-9_-]{86}$/;

function readZoneKeys(at: Reader): ZoneKeySet {
  const set: ZoneKeySet = {
    ttlSeconds: at.number('ttlSeconds', 1, DAY_SECONDS),
    keys: at.list('keys', 2, ZONE_KEYS_MAX).map((key) => {
      const entry: ZoneKey = {
        site: key.nullable('site', (text) => SITE_NAME.test(text)),
        publicKey: key.string('publicKey', P256_BYTES),
      };
      key.onlyTheseKeys();
      return entry;
    }),
    signatures: at.list('signatures', 1, 4).map((signature) => {
      const entry = {
        keyTag: signature.number('keyTag', 0, 65_535),
        inceptionSeconds: signature.number('inceptionSeconds', 0, UINT32_MAX),
        expirationSeconds: signature.number('expirationSeconds', 0, UINT32_MAX),
        signature: signature.string('signature', P256_BYTES),
      };
      signature.onlyTheseKeys();
      return entry;
    }),
  };
  at.onlyTheseKeys();
  return set;
}

/** Reads one JSON object field by field and writes every fault down with its path. */
class Reader {
  readonly #object: Readonly<Record<string, unknown>>;
  readonly #path: string;
  readonly #faults: string[];
  readonly #read = new Set<string>();

  constructor(value: unknown, path: string, faults: string[]) {
    this.#path = path;
    this.#faults = faults;
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    if (!isObject) faults.push(`${path}: expected an object, got ${shown(value)}`);
    this.#object = isObject ? (value as Record<string, unknown>) : {};
  }

  fault(name: string, expected: string): void {
    this.#faults.push(`${this.#path}.${name}: expected ${expected}, got ${shown(this.#object[name])}`);
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#object, name);
  }

  #take(name: string): unknown {
    this.#read.add(name);
    return Object.hasOwn(this.#object, name) ? this.#object[name] : undefined;
  }

  number(name: string, min: number, max: number): number {
    const value = this.#take(name);
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max)
      return value;
    this.fault(name, `a whole number between ${min} and ${max}`);
    return min;
  }

  string(name: string, pattern: RegExp): string {
    const value = this.#take(name);
    if (typeof value === 'string' && pattern.test(value)) return value;
    this.fault(name, `text like ${pattern.source}`);
    return '';
  }

  nullable(name: string, accept: (text: string) => boolean): string | null {
    const value = this.#take(name);
    if (value === null || (typeof value === 'string' && accept(value))) return value;
    this.fault(name, 'well-formed text or null');
    return null;
  }

  strings(name: string, min: number, max: number, accept: (text: string) => boolean): readonly string[] {
    const value = this.#take(name);
    const items: unknown[] = Array.isArray(value) ? value : [null];
    if (items.length >= min && items.length <= max) {
      const texts = items.filter((item): item is string => typeof item === 'string' && accept(item));
      if (texts.length === items.length) return texts;
    }
    this.fault(name, `a list of ${min} to ${max} well-formed entries`);
    return [];
  }

  list(name: string, min: number, max: number): readonly Reader[] {
    const value = this.#take(name);
    if (Array.isArray(value) && value.length >= min && value.length <= max) {
      return value.map((item, index) => new Reader(item, `${this.#path}.${name}[${index}]`, this.#faults));
    }
    this.fault(name, `a list of ${min} to ${max} entries`);
    return [];
  }

  child(name: string): Reader {
    return new Reader(this.#take(name), `${this.#path}.${name}`, this.#faults);
  }

  onlyTheseKeys(): void {
    for (const name of Object.keys(this.#object)) {
      if (!this.#read.has(name)) this.#faults.push(`${this.#path}.${name}: no such field`);
    }
  }
}

function shown(value: unknown): string {
  return value === undefined ? 'nothing' : JSON.stringify(value).slice(0, 80);
}
