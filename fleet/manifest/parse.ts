/**
 * The strict reading of a manifest: each field with its bounds, then what must hold between fields. The result is
 * what everything else reads, so nothing after this has to doubt an address or a key.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { fail, ok, type Result } from '../../system/result.ts';
import { JsonReader } from './json-reader.ts';
import {
  type ExternalCanary,
  type ExtraRecordSet,
  type HealthPolicy,
  type Manifest,
  type OnCallKey,
  OVERRIDE_STATES,
  type Overrides,
  type SealedRelaySecrets,
  type SiteEntry,
  STEERINGS,
  type VantageEntry,
  vantagesOf,
  type WitnessEntry,
  type ZoneKey,
  type ZoneKeySet,
} from './manifest.ts';

const SITES_MAX = 16;
const EXTRA_RECORD_SETS_MAX = 64;
const EXTRA_RECORDS_MAX = 16;
/** Two for each site while one is replaced, and as many for the operators. */
const ZONE_KEYS_MAX = 2 * SITES_MAX + 2;
const DAY_SECONDS = 86_400;
const UINT32_MAX = 2 ** 32 - 1;
const WITNESSES_MAX = 8;
const WEIGHT_MAX = 100;
const ON_CALL_KEYS_MAX = 8;
/** One for each peer key that a site may list at a time. */
const SEALED_PER_SITE_MAX = 4;
/** A ring of 16 keys has 1.5 KiB; sealed, a third more. */
const JWE_LENGTH_MAX = 4096;

/** The fault of a manifest that takes every site out of the answer. */
export const EVERYTHING_DRAINED =
  'manifest.overrides.sites: every site is drained; leave at least one' as const;

/** Checks every field and every relation between fields; gives all faults at once. */
export function parseManifest(value: unknown): Result<Manifest, readonly string[]> {
  const faults: string[] = [];
  const at = new JsonReader(value, 'manifest', faults);
  if (at.number('format', 1, 1) !== 1) return fail(faults);
  const manifest: Manifest = {
    format: 1,
    version: at.number('version', 1, Number.MAX_SAFE_INTEGER),
    zone: at.string('zone', /^(?=.{1,200}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}$/),
    port: at.number('port', 1, 65_535),
    sites: at.list('sites', 1, SITES_MAX).map(readSite),
    witnesses: at.list('witnesses', 0, WITNESSES_MAX).map(readWitness),
    health: readHealth(at.child('health')),
    steering: at.choice('steering', STEERINGS),
    externalCanaries: at.list('externalCanaries', 0, 8).map(readExternalCanary),
    overrides: readOverrides(at.child('overrides')),
    ...(at.has('records')
      ? { records: at.list('records', 0, EXTRA_RECORD_SETS_MAX).map(readExtraRecordSet) }
      : {}),
    ...(at.has('zoneKeys') ? { zoneKeys: readZoneKeys(at.child('zoneKeys')) } : {}),
    ...(at.has('onCallKeys')
      ? { onCallKeys: at.list('onCallKeys', 0, ON_CALL_KEYS_MAX).map(readOnCallKey) }
      : {}),
    ...(at.has('relaySecrets')
      ? {
          relaySecrets: at
            .list('relaySecrets', 0, SITES_MAX * SEALED_PER_SITE_MAX)
            .map(readSealedRelaySecrets),
        }
      : {}),
  };
  at.onlyTheseKeys();
  faults.push(...repetitionsIn(manifest), ...overrideFaults(manifest), ...unknownSites(manifest));
  return faults.length === 0 ? ok(manifest) : fail(faults);
}

/** Names, pins and vote keys stand for one machine each. */
function repetitionsIn({ sites, witnesses, onCallKeys = [] }: Manifest): readonly string[] {
  const values = [
    ...onCallKeys.flatMap(({ name, publicKey }) => [`on call: ${name}`, publicKey]),
    ...sites.flatMap(({ relay }) => relay.pins),
    ...vantagesOf({ sites, witnesses }).flatMap(({ name, vantage }) => [
      name,
      ...vantage.pins,
      vantage.voteKey,
    ]),
  ];
  const repeated = values.filter((value, index) => values.indexOf(value) !== index);
  return [...new Set(repeated)].map((value) => `manifest: ${JSON.stringify(value)} is listed twice`);
}

/** A site's keys and secrets leave with it. */
function unknownSites({ sites, zoneKeys, relaySecrets = [] }: Manifest): readonly string[] {
  const names = new Set<string | null>([null, ...sites.map((site) => site.name)]);
  const faultsOf = (field: string, named: readonly (string | null)[]): readonly string[] =>
    named
      .filter((name) => !names.has(name))
      .map((name) => `manifest.${field}: there is no site ${JSON.stringify(name)}`);
  return [
    ...faultsOf(
      'zoneKeys',
      (zoneKeys?.keys ?? []).map(({ site }) => site),
    ),
    ...faultsOf(
      'relaySecrets',
      relaySecrets.map(({ site }) => site),
    ),
  ];
}

function overrideFaults({ sites, overrides }: Manifest): readonly string[] {
  const named = overrides.sites.map(({ site }) => site);
  const unknown = named.filter((name) => !sites.some((site) => site.name === name));
  const twice = named.filter((name, index) => named.indexOf(name) !== index);
  const out = overrides.sites.filter(({ state }) => state !== 'serving');
  return [
    ...unknown.map((name) => `manifest.overrides.sites: there is no site ${JSON.stringify(name)}`),
    ...twice.map((name) => `manifest.overrides.sites: ${JSON.stringify(name)} is listed twice`),
    ...(sites.every((site) => out.some((override) => override.site === site.name))
      ? [EVERYTHING_DRAINED]
      : []),
  ];
}

const NAME = /^[a-z][a-z0-9-]{0,15}$/;
const PROVIDER = /^[a-z][a-z0-9-]{0,31}$/;
const PIN = /^[A-Za-z0-9_-]{43}$/;
const HOST = /^(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}$/;

/** An interface of this machine, `%eth0`, means nothing elsewhere, and no record can carry it. */
function isGlobalIPv6(text: string): boolean {
  return isIPv6(text) && !text.includes('%');
}

function readSite(at: JsonReader): SiteEntry {
  const relay = at.child('relay');
  const vantage = at.child('vantage');
  const site: SiteEntry = {
    name: at.string('name', NAME),
    provider: at.string('provider', PROVIDER),
    weight: at.number('weight', 1, WEIGHT_MAX),
    relay: {
      ipv4: relay.strings('ipv4', 0, 8, isIPv4),
      ipv6: relay.strings('ipv6', 0, 8, isGlobalIPv6),
      pins: relay.strings('pins', 1, 4, (text) => PIN.test(text)),
    },
    vantage: { ...readVantage(vantage), dnsPort: vantage.number('dnsPort', 1, 65_535) },
  };
  if (site.relay.ipv4.length + site.relay.ipv6.length === 0) relay.fault('ipv4', 'at least one address');
  for (const reader of [relay, vantage, at]) reader.onlyTheseKeys();
  return site;
}

function readVantage(at: JsonReader): VantageEntry {
  const vantage = {
    ipv4: at.nullable('ipv4', isIPv4),
    ipv6: at.nullable('ipv6', isGlobalIPv6),
    votePort: at.number('votePort', 1, 65_535),
    pins: at.strings('pins', 1, 4, (text) => PIN.test(text)),
    voteKey: at.string('voteKey', PIN),
    ...(at.has('operatorTokenHash') ? { operatorTokenHash: at.string('operatorTokenHash', PIN) } : {}),
  };
  if (vantage.ipv4 === null && vantage.ipv6 === null) at.fault('ipv4', 'at least one address');
  return vantage;
}

function readWitness(at: JsonReader): WitnessEntry {
  const vantage = at.child('vantage');
  const witness = {
    name: at.string('name', NAME),
    provider: at.string('provider', PROVIDER),
    vantage: readVantage(vantage),
  };
  for (const reader of [vantage, at]) reader.onlyTheseKeys();
  return witness;
}

function readExternalCanary(at: JsonReader): ExternalCanary {
  const canary = {
    address: at.nullable('address', (text) => isIPv4(text) || isIPv6(text)) ?? '',
    port: at.number('port', 1, 65_535),
    name: at.string('name', HOST),
  };
  if (canary.address === '') at.fault('address', 'an address');
  at.onlyTheseKeys();
  return canary;
}

/** Reads the overrides of a manifest, or of a document of its own. */
export function readOverrides(at: JsonReader): Overrides {
  const overrides = {
    sites: at.list('sites', 0, SITES_MAX).map((one) => {
      const override = {
        site: one.string('site', NAME),
        state: one.choice('state', OVERRIDE_STATES),
        untilWallMs: one.number('untilWallMs', 0, Number.MAX_SAFE_INTEGER),
      };
      one.onlyTheseKeys();
      return override;
    }),
    frozenUntilWallMs: at.isNull('frozenUntilWallMs')
      ? null
      : at.number('frozenUntilWallMs', 0, Number.MAX_SAFE_INTEGER),
  };
  at.onlyTheseKeys();
  return overrides;
}

function readHealth(at: JsonReader): HealthPolicy {
  const policy: HealthPolicy = {
    probeIntervalMs: at.number('probeIntervalMs', 100, 60_000),
    probeTimeoutMs: at.number('probeTimeoutMs', 50, 30_000),
    downAfter: at.number('downAfter', 1, 100),
    okAfter: at.number('okAfter', 1, 100),
    upAfter: at.number('upAfter', 1, 1000),
    voteFreshMs: at.number('voteFreshMs', 200, 600_000),
    withdrawalWindowMs: at.number('withdrawalWindowMs', 0, 3_600_000),
    warmUpMs: at.number('warmUpMs', 0, 3_600_000),
    canaryIntervalMs: at.number('canaryIntervalMs', 0, 3_600_000),
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

function readExtraRecordSet(at: JsonReader): ExtraRecordSet {
  const set: ExtraRecordSet = {
    name: at.string('name', /^(?=.{0,100}$)([a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*)?$/),
    type: at.string('type', /^(TXT|CAA|HTTPS|TYPE[1-9]\d{0,4})$/),
    ttlSeconds: at.number('ttlSeconds', 1, DAY_SECONDS),
    data: at.strings('data', 1, EXTRA_RECORDS_MAX, (text) => text.length <= 4096),
  };
  at.onlyTheseKeys();
  return set;
}

function readOnCallKey(at: JsonReader): OnCallKey {
  const key = {
    name: at.string('name', PROVIDER),
    publicKey: at.string('publicKey', PIN),
  };
  at.onlyTheseKeys();
  return key;
}

function readSealedRelaySecrets(at: JsonReader): SealedRelaySecrets {
  const sealed = {
    site: at.string('site', NAME),
    // Header, no wrapped key, nonce, ciphertext, tag.
    jwe: at.string('jwe', /^[\w-]+\.\.[\w-]+\.[\w-]+\.[\w-]+$/),
  };
  if (sealed.jwe.length > JWE_LENGTH_MAX) at.fault('jwe', `at most ${JWE_LENGTH_MAX} characters`);
  at.onlyTheseKeys();
  return sealed;
}

const P256_BYTES = /^[A-Za-z0-9_-]{86}$/;

function readZoneKeys(at: JsonReader): ZoneKeySet {
  const set: ZoneKeySet = {
    ttlSeconds: at.number('ttlSeconds', 1, DAY_SECONDS),
    keys: at.list('keys', 2, ZONE_KEYS_MAX).map((key) => {
      const entry: ZoneKey = {
        site: key.nullable('site', (text) => NAME.test(text)),
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
