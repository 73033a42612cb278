/**
 * The settings of a vantage, read once, whole or not at all. What every vantage must agree on is in the signed
 * manifest; here is only what belongs to this machine: who it is, where it listens, and its keys.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { type CryptoKey, importPKCS8 } from 'jose';
import type { SiteName } from '../fleet/manifest/manifest.ts';
import type { LogLevel } from '../system/log.ts';
import { type Pin, type PinnedIdentity, pinOf } from '../system/pinned-tls.ts';
import { fail, ok, type Result } from '../system/result.ts';
import {
  contentOf,
  directory,
  type Endpoint,
  endpoint,
  fileToKeep,
  integer,
  oneOf,
  optional,
  readSettings,
  type Setting,
  type SettingsOf,
  text,
} from '../system/settings.ts';
import { ACME_SETTINGS, type AcmeConfig, type AcmeShape, acmeConfigOf } from './acme/settings.ts';
import type { CookieSecrets } from './dns/cookie.ts';
import { parseTsigKey, type TsigKey } from './dns/tsig.ts';
import { publicKeyText } from './dns/zone-keys.ts';

export interface VantageConfig {
  readonly site: SiteName;
  /** Where the last good manifest is kept, and where a newer one may be put. */
  readonly manifestPath: string;
  /** The operators' public key, 32 bytes as base64url. */
  readonly manifestKey: string;
  readonly manifestVersionMin: number;
  /** Where DNS is answered; undefined at a witness, which has no nameserver. */
  readonly dnsListen: Endpoint | undefined;
  /** How many threads answer over UDP, where that is possible; 0: the main thread does. */
  readonly dnsThreads: number;
  /** Where the other vantages, relays and operators are met. */
  readonly voteListen: Endpoint;
  readonly privateListen: Endpoint;
  /** Signs this vantage's votes. */
  readonly voteKey: CryptoKey;
  /** The public half, 32 bytes as base64url. */
  readonly votePublicKey: string;
  /** Shown to the other vantages, who pin its key. */
  readonly identity: PinnedIdentity;
  readonly pin: Pin;
  /** A certificate authority that probes trust beside the usual ones, PEM. */
  readonly extraCa: string | undefined;
  /** What relays take for making push URLs, for message canaries; undefined where minting is open. */
  readonly operatorToken: string | undefined;
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
  /** How this site gets its certificate; undefined: operators give relays theirs. */
  readonly acme: AcmeConfig | undefined;
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

const operatorTokenFile = contentOf('an operator token');
const operatorToken: Setting<string> = {
  expected: 'the path of a readable file with one operator token on one line',
  secret: true,
  parse: (path) => {
    const token = operatorTokenFile.parse(path)?.trim() ?? '';
    return /^[\x21-\x7e]{1,256}$/.test(token) ? token : undefined;
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

type VantageShape = AcmeShape & {
  readonly VANTAGE_SITE: Setting<string>;
  readonly VANTAGE_MANIFEST: Setting<string>;
  readonly VANTAGE_MANIFEST_KEY: Setting<string>;
  readonly VANTAGE_MANIFEST_VERSION_MIN: Setting<number>;
  readonly VANTAGE_DNS_LISTEN: Setting<Endpoint | undefined>;
  readonly VANTAGE_DNS_THREADS: Setting<number>;
  readonly VANTAGE_VOTE_LISTEN: Setting<Endpoint>;
  readonly VANTAGE_PRIVATE_LISTEN: Setting<Endpoint>;
  readonly VANTAGE_VOTE_KEY: Setting<string>;
  readonly VANTAGE_TLS_CERTIFICATE: Setting<string>;
  readonly VANTAGE_TLS_KEY: Setting<string>;
  readonly VANTAGE_CA: Setting<string | undefined>;
  readonly VANTAGE_OPERATOR_TOKEN: Setting<string | undefined>;
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
  VANTAGE_MANIFEST: fileToKeep(),
  VANTAGE_MANIFEST_KEY: text("the operators' Ed25519 public key, 43 characters of base64url", /^[\w-]{43}$/),
  VANTAGE_MANIFEST_VERSION_MIN: integer(1, Number.MAX_SAFE_INTEGER, 1),
  VANTAGE_DNS_LISTEN: optional(endpoint()),
  VANTAGE_DNS_THREADS: integer(0, 64, Math.min(8, availableParallelism())),
  VANTAGE_VOTE_LISTEN: endpoint(),
  VANTAGE_PRIVATE_LISTEN: endpoint(),
  VANTAGE_VOTE_KEY: contentOf('an Ed25519 private key (PKCS#8 PEM)'),
  VANTAGE_TLS_CERTIFICATE: contentOf('a self-signed certificate (PEM)'),
  VANTAGE_TLS_KEY: contentOf('the private key of that certificate (PEM)'),
  VANTAGE_CA: optional(contentOf('a certificate authority (PEM)')),
  VANTAGE_OPERATOR_TOKEN: optional(operatorToken),
  VANTAGE_STATE_DIR: directory(),
  VANTAGE_ZONE_KEY: optional(contentOf('an EC private key on P-256 (PKCS#8 PEM)')),
  VANTAGE_TRANSFER_KEYS: transferKeys,
  VANTAGE_SECONDARIES: secondaries,
  VANTAGE_RESPONSES_PER_SECOND: integer(0, 1_000_000, 100),
  VANTAGE_COOKIE_SECRETS: optional(cookieSecrets),
  ...ACME_SETTINGS,
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
  const voteKey = privateKeyOf(values.VANTAGE_VOTE_KEY);
  const pin = certificatePin(values);
  const zoneKey = zoneKeyOf(values);
  const acme = acmeConfigOf(values, values.VANTAGE_DNS_LISTEN !== undefined);
  const faults = [
    ...(voteKey?.asymmetricKeyType === 'ed25519'
      ? []
      : ['VANTAGE_VOTE_KEY: expected an Ed25519 private key (PKCS#8 PEM), got something else']),
    ...[pin, zoneKey, acme].flatMap((read) => (read.ok ? [] : [read.fault])),
    ...caFaults(values),
  ];
  if (faults.length > 0 || voteKey === undefined || !pin.ok || !zoneKey.ok || !acme.ok) return fail(faults);
  return ok({
    site: values.VANTAGE_SITE,
    manifestPath: values.VANTAGE_MANIFEST,
    manifestKey: values.VANTAGE_MANIFEST_KEY,
    manifestVersionMin: values.VANTAGE_MANIFEST_VERSION_MIN,
    dnsListen: values.VANTAGE_DNS_LISTEN,
    dnsThreads: values.VANTAGE_DNS_THREADS,
    voteListen: values.VANTAGE_VOTE_LISTEN,
    privateListen: values.VANTAGE_PRIVATE_LISTEN,
    voteKey: await importPKCS8(values.VANTAGE_VOTE_KEY, 'EdDSA'),
    votePublicKey: voteKey.export({ format: 'jwk' }).x ?? '',
    identity: { certificatePem: values.VANTAGE_TLS_CERTIFICATE, keyPem: values.VANTAGE_TLS_KEY },
    pin: pin.value,
    extraCa: values.VANTAGE_CA,
    operatorToken: values.VANTAGE_OPERATOR_TOKEN,
    stateDir: values.VANTAGE_STATE_DIR,
    zoneKey: zoneKey.value,
    transferKeys: values.VANTAGE_TRANSFER_KEYS,
    secondaries: values.VANTAGE_SECONDARIES,
    responsesPerSecond: values.VANTAGE_RESPONSES_PER_SECOND,
    cookieSecrets: values.VANTAGE_COOKIE_SECRETS,
    acme: acme.value,
    logLevel: values.VANTAGE_LOG_LEVEL,
    stopWithStdin: values.VANTAGE_STOP_WITH_STDIN === 'yes',
  });
}

type Values = SettingsOf<VantageShape>;

function certificatePin(values: Values): Result<Pin, string> {
  const certificate = certificateOf(values.VANTAGE_TLS_CERTIFICATE);
  const key = privateKeyOf(values.VANTAGE_TLS_KEY);
  if (certificate === undefined) return fail('VANTAGE_TLS_CERTIFICATE: expected a certificate (PEM)');
  if (key === undefined) return fail('VANTAGE_TLS_KEY: expected a private key (PEM)');
  return certificate.checkPrivateKey(key)
    ? ok(pinOf(certificate.publicKey.export({ type: 'spki', format: 'der' })))
    : fail('VANTAGE_TLS_KEY: it does not belong to VANTAGE_TLS_CERTIFICATE');
}

function zoneKeyOf({ VANTAGE_ZONE_KEY: pem }: Values): Result<KeyObject | undefined, string> {
  if (pem === undefined) return ok(undefined);
  const key = privateKeyOf(pem);
  return key !== undefined && publicKeyText(key) !== undefined
    ? ok(key)
    : fail('VANTAGE_ZONE_KEY: expected an EC private key on P-256 (PKCS#8 PEM)');
}

function caFaults({ VANTAGE_CA: ca }: Values): readonly string[] {
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
