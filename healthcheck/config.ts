/**
 * The settings of a vantage, read once, whole or not at all. What every vantage must agree on is in the signed
 * manifest; here is only what belongs to this machine: who it is, where it listens, and its keys.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { type CryptoKey, importPKCS8 } from 'jose';
import { type Manifest, type SiteName, vantagesOf, type WitnessEntry } from '../fleet/manifest/manifest.ts';
import { openManifest } from '../fleet/manifest/signed.ts';
import type { LogLevel } from '../system/log.ts';
import { type PinnedIdentity, pinOf } from '../system/pinned-tls.ts';
import { fail, ok, type Result } from '../system/result.ts';
import {
  contentOf,
  directory,
  type Endpoint,
  endpoint,
  integer,
  oneOf,
  optional,
  readSettings,
  type Setting,
  type SettingsOf,
  suggestion,
  text,
} from '../system/settings.ts';
import { siteNamed, vantageNamed } from './core/target.ts';
import { zoneFaults } from './core/zone.ts';
import type { CookieSecrets } from './dns/cookie.ts';
import { parseTsigKey, type TsigKey } from './dns/tsig.ts';
import { publicKeyText } from './dns/zone-keys.ts';

export interface VantageConfig {
  readonly site: SiteName;
  readonly manifest: Manifest;
  /** The manifest as it was signed, and where a newer one may be put. */
  readonly signedManifest: string;
  readonly manifestPath: string;
  /** The operators' public key, 32 bytes as base64url. */
  readonly manifestKey: string;
  /** Where DNS is answered; undefined at a witness, which has no nameserver. */
  readonly dnsListen: Endpoint | undefined;
  readonly voteListen: Endpoint;
  readonly privateListen: Endpoint;
  /** Signs this vantage's votes. */
  readonly voteKey: CryptoKey;
  /** Shown to the other vantages, who pin its key. */
  readonly identity: PinnedIdentity;
  /** A certificate authority that probes trust beside the usual ones, PEM. */
  readonly extraCa: string | undefined;
  readonly stateDir: string;
  /** Signs what this nameserver says; undefined while the manifest has no zone keys. */
  readonly zoneKey: KeyObject | undefined;
  /** Shared with secondaries; the first one signs what is sent to them unasked. Empty: no transfers. */
  readonly transferKeys: readonly TsigKey[];
  /** Told at once when the zone changes. */
  readonly secondaries: readonly Endpoint[];
  /** UDP responses a second for each /24 or /56 without a cookie; 0: no limit. */
  readonly responsesPerSecond: number;
  /** Undefined: the nameserver makes its own. */
  readonly cookieSecrets: CookieSecrets | undefined;
  readonly logLevel: LogLevel;
  readonly stopWithStdin: boolean;
}

const cookieSecretFile = contentOf('1 to 3 cookie secrets');
const cookieSecrets: Setting<CookieSecrets> = {
  expected: 'the path of a readable file with 1 to 3 cookie secrets of 32 hexadecimal digits, one a line',
  secret: true,
  parse: (path) => {
    const lines = cookieSecretFile.parse(path)?.trim().split(/\s+/) ?? [];
    return lines.length <= 3 && lines.every((line) => /^[0-9a-f]{32}$/i.test(line))
      ? lines.map((line) => Uint8Array.from(Buffer.from(line, 'hex')))
      : undefined;
  },
};

const transferKeyFile = contentOf('TSIG keys');
const transferKeys: Setting<readonly TsigKey[]> = {
  expected: 'the path of a readable file with 1 to 4 TSIG keys such as hmac-sha256:name:base64, one a line',
  secret: true,
  fallback: [],
  parse: (path) => {
    const lines = transferKeyFile.parse(path)?.trim().split(/\s+/) ?? [];
    const keys = lines.flatMap((line) => parseTsigKey(line) ?? []);
    return keys.length === lines.length && keys.length >= 1 && keys.length <= 4 ? keys : undefined;
  },
};

const secondaries: Setting<readonly Endpoint[]> = {
  expected: 'up to 8 addresses with ports, separated by commas, such as 192.0.2.9:53,[2001:db8::9]:53',
  fallback: [],
  parse: (text) => {
    const parts = text.split(',');
    const endpoints = parts.flatMap((part) => endpoint().parse(part.trim()) ?? []);
    return endpoints.length === parts.length && endpoints.length <= 8 ? endpoints : undefined;
  },
};

type VantageShape = {
  readonly VANTAGE_SITE: Setting<string>;
  readonly VANTAGE_MANIFEST: Setting<string>;
  readonly VANTAGE_MANIFEST_KEY: Setting<string>;
  readonly VANTAGE_MANIFEST_VERSION_MIN: Setting<number>;
  readonly VANTAGE_DNS_LISTEN: Setting<Endpoint | undefined>;
  readonly VANTAGE_VOTE_LISTEN: Setting<Endpoint>;
  readonly VANTAGE_PRIVATE_LISTEN: Setting<Endpoint>;
  readonly VANTAGE_VOTE_KEY: Setting<string>;
  readonly VANTAGE_TLS_CERTIFICATE: Setting<string>;
  readonly VANTAGE_TLS_KEY: Setting<string>;
  readonly VANTAGE_CA: Setting<string | undefined>;
  readonly VANTAGE_STATE_DIR: Setting<string>;
  readonly VANTAGE_ZONE_KEY: Setting<string | undefined>;
  readonly VANTAGE_TRANSFER_KEYS: Setting<readonly TsigKey[]>;
  readonly VANTAGE_SECONDARIES: Setting<readonly Endpoint[]>;
  readonly VANTAGE_RESPONSES_PER_SECOND: Setting<number>;
  readonly VANTAGE_COOKIE_SECRETS: Setting<CookieSecrets | undefined>;
  readonly VANTAGE_LOG_LEVEL: Setting<LogLevel>;
  readonly VANTAGE_STOP_WITH_STDIN: Setting<'yes' | 'no'>;
};

/** Every setting, by its whole name; `docs/configuration-vantage.md` describes each. */
export const VANTAGE_SETTINGS: VantageShape = {
  VANTAGE_SITE: text('the name of a site of the manifest, such as aws', /^[a-z][a-z0-9-]{0,15}$/),
  VANTAGE_MANIFEST: contentOf('the signed manifest'),
  VANTAGE_MANIFEST_KEY: text("the operators' Ed25519 public key, 43 characters of base64url", /^[\w-]{43}$/),
  VANTAGE_MANIFEST_VERSION_MIN: integer(1, Number.MAX_SAFE_INTEGER, 1),
  VANTAGE_DNS_LISTEN: optional(endpoint()),
  VANTAGE_VOTE_LISTEN: endpoint(),
  VANTAGE_PRIVATE_LISTEN: endpoint(),
  VANTAGE_VOTE_KEY: contentOf('an Ed25519 private key (PKCS#8 PEM)'),
  VANTAGE_TLS_CERTIFICATE: contentOf('a self-signed certificate (PEM)'),
  VANTAGE_TLS_KEY: contentOf('the private key of that certificate (PEM)'),
  VANTAGE_CA: optional(contentOf('a certificate authority (PEM)')),
  VANTAGE_STATE_DIR: directory(),
  VANTAGE_ZONE_KEY: optional(contentOf('an EC private key on P-256 (PKCS#8 PEM)')),
  VANTAGE_TRANSFER_KEYS: transferKeys,
  VANTAGE_SECONDARIES: secondaries,
  VANTAGE_RESPONSES_PER_SECOND: integer(0, 1_000_000, 100),
  VANTAGE_COOKIE_SECRETS: optional(cookieSecrets),
  VANTAGE_LOG_LEVEL: oneOf(['debug', 'info', 'warn', 'error'], 'info'),
  VANTAGE_STOP_WITH_STDIN: oneOf(['yes', 'no'], 'no'),
};

/** The configuration, or every fault at once, each a sentence. */
export async function readVantageConfig(
  environment: Readonly<Record<string, string | undefined>>,
): Promise<Result<VantageConfig, readonly string[]>> {
  const settings = readSettings('VANTAGE_', VANTAGE_SETTINGS, environment);
  if (!settings.ok) return settings;
  const values = settings.value;
  const opened = await openManifest(
    values.VANTAGE_MANIFEST,
    values.VANTAGE_MANIFEST_KEY,
    values.VANTAGE_MANIFEST_VERSION_MIN,
  );
  if (!opened.ok) return fail(opened.fault.details);
  const manifest = opened.value;
  const faults = [
    ...zoneFaults(manifest),
    ...identityFaults(values, manifest),
    ...zoneKeyFileFaults(values, manifest),
  ];
  if (faults.length > 0) return fail(faults);
  return ok({
    site: values.VANTAGE_SITE,
    manifest,
    signedManifest: values.VANTAGE_MANIFEST,
    manifestPath: environment['VANTAGE_MANIFEST'] ?? '',
    manifestKey: values.VANTAGE_MANIFEST_KEY,
    dnsListen: values.VANTAGE_DNS_LISTEN,
    voteListen: values.VANTAGE_VOTE_LISTEN,
    privateListen: values.VANTAGE_PRIVATE_LISTEN,
    voteKey: await importPKCS8(values.VANTAGE_VOTE_KEY, 'EdDSA'),
    identity: { certificatePem: values.VANTAGE_TLS_CERTIFICATE, keyPem: values.VANTAGE_TLS_KEY },
    extraCa: values.VANTAGE_CA,
    stateDir: values.VANTAGE_STATE_DIR,
    zoneKey: values.VANTAGE_ZONE_KEY === undefined ? undefined : privateKeyOf(values.VANTAGE_ZONE_KEY),
    transferKeys: values.VANTAGE_TRANSFER_KEYS,
    secondaries: values.VANTAGE_SECONDARIES,
    responsesPerSecond: values.VANTAGE_RESPONSES_PER_SECOND,
    cookieSecrets: values.VANTAGE_COOKIE_SECRETS,
    logLevel: values.VANTAGE_LOG_LEVEL,
    stopWithStdin: values.VANTAGE_STOP_WITH_STDIN === 'yes',
  });
}

/** What others would refuse later, told now: keys that are not the ones the manifest lists for this site. */
function identityFaults(values: SettingsOf<VantageShape>, manifest: Manifest): readonly string[] {
  const site = vantageNamed(manifest, values.VANTAGE_SITE);
  if (site === undefined) {
    const names = vantagesOf(manifest).map(({ name }) => name);
    const hint = suggestion(values.VANTAGE_SITE, names);
    return [`VANTAGE_SITE: the manifest has no site ${JSON.stringify(values.VANTAGE_SITE)}${hint}`];
  }
  return [
    ...voteKeyFaults(values.VANTAGE_VOTE_KEY, site),
    ...tlsFaults(values, site),
    ...caFaults(values),
    ...nameserverFaults(values, manifest),
  ];
}

/** A site answers DNS, a witness does not. */
function nameserverFaults(values: SettingsOf<VantageShape>, manifest: Manifest): readonly string[] {
  const isSite = siteNamed(manifest, values.VANTAGE_SITE) !== undefined;
  if (isSite === (values.VANTAGE_DNS_LISTEN !== undefined)) return [];
  return isSite
    ? ['VANTAGE_DNS_LISTEN: expected an IP address and a port, such as 192.0.2.7:53, got nothing']
    : [`VANTAGE_DNS_LISTEN: ${values.VANTAGE_SITE} is a witness, which has no nameserver; leave it out`];
}

function voteKeyFaults(pem: string, site: WitnessEntry): readonly string[] {
  const key = privateKeyOf(pem);
  if (key?.asymmetricKeyType !== 'ed25519') {
    return ['VANTAGE_VOTE_KEY: expected an Ed25519 private key (PKCS#8 PEM), got something else'];
  }
  if (key.export({ format: 'jwk' }).x === site.vantage.voteKey) return [];
  return [`VANTAGE_VOTE_KEY: the manifest lists another public key for ${site.name} (vantage.voteKey)`];
}

function tlsFaults(values: SettingsOf<VantageShape>, site: WitnessEntry): readonly string[] {
  const certificate = certificateOf(values.VANTAGE_TLS_CERTIFICATE);
  const key = privateKeyOf(values.VANTAGE_TLS_KEY);
  if (certificate === undefined) return ['VANTAGE_TLS_CERTIFICATE: expected a certificate (PEM)'];
  if (key === undefined) return ['VANTAGE_TLS_KEY: expected a private key (PEM)'];
  if (!certificate.checkPrivateKey(key)) {
    return ['VANTAGE_TLS_KEY: it does not belong to VANTAGE_TLS_CERTIFICATE'];
  }
  const pin = pinOf(certificate.publicKey.export({ type: 'spki', format: 'der' }));
  if (site.vantage.pins.includes(pin)) return [];
  return [`VANTAGE_TLS_CERTIFICATE: the manifest does not list its key for ${site.name} (vantage.pins)`];
}

/** A signature under a key that is not in the set would make every answer of this nameserver bogus. */
function zoneKeyFileFaults(
  { VANTAGE_ZONE_KEY: pem, VANTAGE_SITE: site }: SettingsOf<VantageShape>,
  { zoneKeys }: Manifest,
): readonly string[] {
  if (pem === undefined) {
    return zoneKeys === undefined
      ? []
      : ['VANTAGE_ZONE_KEY: the zone is signed (zoneKeys), so this site needs its key'];
  }
  const key = privateKeyOf(pem);
  const publicKey = key === undefined ? undefined : publicKeyText(key);
  if (publicKey === undefined) return ['VANTAGE_ZONE_KEY: expected an EC private key on P-256 (PKCS#8 PEM)'];
  if (zoneKeys === undefined) return [];
  return zoneKeys.keys.some((one) => one.site === site && one.publicKey === publicKey)
    ? []
    : [`VANTAGE_ZONE_KEY: the manifest does not list its public key for ${site} (zoneKeys)`];
}

function caFaults({ VANTAGE_CA: ca }: SettingsOf<VantageShape>): readonly string[] {
  return ca === undefined || certificateOf(ca) !== undefined
    ? []
    : ['VANTAGE_CA: expected a certificate (PEM)'];
}

function privateKeyOf(pem: string): KeyObject | undefined {
  try {
    return createPrivateKey(pem);
  } catch {
    return undefined;
  }
}

function certificateOf(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined;
  }
}
