/**
 * The settings of a relay, every one with its bounds and default; docs/configuration.md lists the same.
 */
import { type Manifest, type SiteEntry } from '../fleet/manifest/manifest.ts';
import { openManifest } from '../fleet/manifest/signed.ts';
import { fail, ok, type Result } from '../system/result.ts';
import { readServerCertificate } from '../system/server-certificate.ts';
import {
  contentOf,
  directory,
  type Endpoint,
  endpoint,
  endpoints,
  integer,
  oneOf,
  optional,
  readSettings,
  type Setting,
  type SettingsOf,
  text,
} from '../system/settings.ts';
import { type KeyRing, parseKeyRing } from './core/key-ring.ts';

interface RelayShape {
  readonly [name: string]: Setting<unknown>;
  readonly RELAY_SITE: Setting<string>;
  readonly RELAY_MANIFEST: Setting<string>;
  readonly RELAY_MANIFEST_KEY: Setting<string>;
  readonly RELAY_MANIFEST_VERSION_MIN: Setting<number>;
  readonly RELAY_LISTEN: Setting<Endpoint>;
  readonly RELAY_PRIVATE_LISTEN: Setting<Endpoint>;
  readonly RELAY_TLS_CERTIFICATE: Setting<string | undefined>;
  readonly RELAY_TLS_KEY: Setting<string | undefined>;
  readonly RELAY_STATE_DIR: Setting<string | undefined>;
  readonly RELAY_PEER_CERTIFICATE: Setting<string>;
  readonly RELAY_PEER_KEY: Setting<string>;
  readonly RELAY_SECRETS: Setting<string>;
  readonly RELAY_STORE: Setting<'redis' | 'memory'>;
  readonly RELAY_REDIS: Setting<readonly Endpoint[] | undefined>;
  readonly RELAY_REDIS_USER: Setting<string | undefined>;
  readonly RELAY_REDIS_PASSWORD: Setting<string | undefined>;
  readonly RELAY_ENVIRONMENT: Setting<'production' | 'local'>;
  readonly RELAY_MINTING: Setting<'token' | 'open'>;
  readonly RELAY_OPERATOR_TOKENS: Setting<string | undefined>;
  readonly RELAY_CIPHERTEXT_TYPES: Setting<string>;
  readonly RELAY_BODY_BYTES_MAX: Setting<number>;
  readonly RELAY_TTL_SECONDS_MAX: Setting<number>;
  readonly RELAY_WRITE_DEADLINE_MS: Setting<number>;
  readonly RELAY_HEARTBEAT_MS: Setting<number>;
  readonly RELAY_CONNECTIONS_MAX: Setting<number>;
  readonly RELAY_REQUESTS_MAX: Setting<number>;
  readonly RELAY_CAPABILITY_MESSAGES_PER_SECOND: Setting<number>;
  readonly RELAY_MAILBOX_MESSAGES_PER_SECOND: Setting<number>;
  readonly RELAY_MINTS_PER_SECOND: Setting<number>;
  readonly RELAY_MAILBOX_ASKS_PER_SECOND: Setting<number>;
  readonly RELAY_MAILBOX_MESSAGES_MAX: Setting<number>;
  readonly RELAY_MAILBOX_BYTES_MAX: Setting<number>;
  readonly RELAY_UNREAD_MAILBOX_MESSAGES_MAX: Setting<number>;
  readonly RELAY_UNREAD_MAILBOX_BYTES_MAX: Setting<number>;
  readonly RELAY_UNREAD_TTL_SECONDS_MAX: Setting<number>;
  readonly RELAY_DRAIN_MS: Setting<number>;
  readonly RELAY_DRAIN_SPREAD_MS: Setting<number>;
  readonly RELAY_LOG_LEVEL: Setting<'debug' | 'info' | 'warn' | 'error'>;
  readonly RELAY_STOP_WITH_STDIN: Setting<'yes' | 'no'>;
}

export const RELAY_SETTINGS: RelayShape = {
  RELAY_SITE: text("this site's name in the manifest", /^[a-z][a-z0-9-]{0,15}$/),
  RELAY_MANIFEST: contentOf('the signed manifest'),
  RELAY_MANIFEST_KEY: text("the operators' Ed25519 public key, 43 characters", /^[A-Za-z0-9_-]{43}$/),
  RELAY_MANIFEST_VERSION_MIN: integer(1, Number.MAX_SAFE_INTEGER, 1),
  RELAY_LISTEN: endpoint(),
  RELAY_PRIVATE_LISTEN: endpoint(),
  RELAY_TLS_CERTIFICATE: optional(contentOf('the certificate chain for the zone and the site, PEM')),
  RELAY_TLS_KEY: optional(contentOf('the private key of RELAY_TLS_CERTIFICATE, PEM')),
  RELAY_STATE_DIR: optional(directory()),
  RELAY_PEER_CERTIFICATE: contentOf('the self-signed certificate shown to peers, PEM'),
  RELAY_PEER_KEY: contentOf('the private key of RELAY_PEER_CERTIFICATE, PEM'),
  RELAY_SECRETS: contentOf('the capability keys and the pepper, JSON'),
  RELAY_STORE: oneOf(['redis', 'memory'], 'redis'),
  RELAY_REDIS: optional(endpoints()),
  RELAY_REDIS_USER: optional(text('a Redis ACL user', /^[\x21-\x7e]{1,64}$/)),
  RELAY_REDIS_PASSWORD: optional(contentOf('the password of the Redis')),
  RELAY_ENVIRONMENT: oneOf(['production', 'local'], 'production'),
  RELAY_MINTING: oneOf(['token', 'open'], 'token'),
  RELAY_OPERATOR_TOKENS: optional(contentOf('one SHA-256 of an operator token per line, in hex')),
  RELAY_CIPHERTEXT_TYPES: text(
    'media types that are ciphertext by themselves, with commas between them',
    /^[a-z0-9!#$&^_.+-]+\/[a-z0-9!#$&^_.+-]+(,[a-z0-9!#$&^_.+-]+\/[a-z0-9!#$&^_.+-]+)*$/,
    'message/mls',
  ),
  RELAY_BODY_BYTES_MAX: integer(4096, 1_048_576, 65_536),
  RELAY_TTL_SECONDS_MAX: integer(60, 2_592_000, 2_592_000),
  RELAY_WRITE_DEADLINE_MS: integer(50, 10_000, 1000),
  RELAY_HEARTBEAT_MS: integer(200, 10_000, 5000),
  RELAY_CONNECTIONS_MAX: integer(10, 1_000_000, 20_000),
  RELAY_REQUESTS_MAX: integer(1, 100_000, 2048),
  RELAY_CAPABILITY_MESSAGES_PER_SECOND: integer(1, 100_000, 500),
  RELAY_MAILBOX_MESSAGES_PER_SECOND: integer(1, 100_000, 1000),
  RELAY_MINTS_PER_SECOND: integer(1, 100_000, 100),
  RELAY_MAILBOX_ASKS_PER_SECOND: integer(1, 100_000, 50),
  RELAY_MAILBOX_MESSAGES_MAX: integer(16, 100_000_000, 10_000),
  RELAY_MAILBOX_BYTES_MAX: integer(1_048_576, 1_000_000_000_000, 67_108_864),
  RELAY_UNREAD_MAILBOX_MESSAGES_MAX: integer(16, 100_000_000, 256),
  RELAY_UNREAD_MAILBOX_BYTES_MAX: integer(1_048_576, 1_000_000_000_000, 4_194_304),
  RELAY_UNREAD_TTL_SECONDS_MAX: integer(60, 2_592_000, 604_800),
  RELAY_DRAIN_MS: integer(0, 600_000, 10_000),
  RELAY_DRAIN_SPREAD_MS: integer(0, 600_000, 20_000),
  RELAY_LOG_LEVEL: oneOf(['debug', 'info', 'warn', 'error'], 'info'),
  RELAY_STOP_WITH_STDIN: oneOf(['yes', 'no'], 'no'),
};

/** Where the certificate that clients are shown comes from. */
type CertificateOrigin =
  | { readonly from: 'files'; readonly certificatePath: string; readonly keyPath: string }
  | { readonly from: 'vantage'; readonly stateDir: string };

export interface RelayConfig {
  readonly settings: SettingsOf<RelayShape>;
  readonly manifest: Manifest;
  readonly own: SiteEntry;
  readonly ring: KeyRing;
  readonly certificate: CertificateOrigin;
  /** SHA-256 of each operator token; undefined when minting is open. */
  readonly operatorTokenHashes: readonly Uint8Array[] | undefined;
}

/** Settings, manifest and secrets together: whole, or every fault as a sentence. */
export async function readRelayConfig(
  environment: Readonly<Record<string, string | undefined>>,
): Promise<Result<RelayConfig, readonly string[]>> {
  const read = readSettings('RELAY_', RELAY_SETTINGS, environment);
  if (!read.ok) return read;
  const settings = read.value;
  const faults: string[] = [];
  const isLocal = settings.RELAY_ENVIRONMENT === 'local';
  if (settings.RELAY_STORE === 'memory' && !isLocal) {
    faults.push('RELAY_STORE: memory loses every message when the process ends; use redis in production');
  }
  if (settings.RELAY_STORE === 'redis' && settings.RELAY_REDIS === undefined) {
    faults.push("RELAY_REDIS: expected the address and port of this site's Redis, got nothing");
  }
  const hashes = (settings.RELAY_OPERATOR_TOKENS ?? '').split('\n').filter((line) => line.trim() !== '');
  if (settings.RELAY_MINTING === 'token' && hashes.length === 0) {
    faults.push('RELAY_OPERATOR_TOKENS: expected a file with at least one hash while RELAY_MINTING is token');
  }
  if (!hashes.every((line) => /^[0-9a-f]{64}$/.test(line.trim()))) {
    faults.push('RELAY_OPERATOR_TOKENS: expected 64 hex digits on each line');
  }
  const certificate = certificateOrigin(settings, environment);
  if (!certificate.ok) faults.push(certificate.fault);
  const ring = parseKeyRing(settings.RELAY_SECRETS);
  if (!ring.ok) faults.push(...ring.fault.map((fault) => `RELAY_SECRETS: ${fault}`));
  const manifest = await openManifest(
    settings.RELAY_MANIFEST,
    settings.RELAY_MANIFEST_KEY,
    settings.RELAY_MANIFEST_VERSION_MIN,
  );
  if (!manifest.ok) faults.push(...manifest.fault.details.map((fault) => `RELAY_MANIFEST: ${fault}`));
  const own = manifest.ok ? manifest.value.sites.find(({ name }) => name === settings.RELAY_SITE) : undefined;
  if (manifest.ok && own === undefined) {
    const names = manifest.value.sites.map(({ name }) => name).join(', ');
    faults.push(`RELAY_SITE: expected one of the manifest's sites (${names}), got "${settings.RELAY_SITE}"`);
  }
  if (faults.length > 0 || !ring.ok || !manifest.ok || !certificate.ok || own === undefined)
    return fail(faults);
  const isOpen = settings.RELAY_MINTING === 'open';
  return ok({
    settings,
    manifest: manifest.value,
    own,
    ring: ring.value,
    certificate: certificate.value,
    operatorTokenHashes: isOpen ? undefined : hashes.map((line) => Buffer.from(line.trim(), 'hex')),
  });
}

/** Both files, or none of them and a place to keep what the vantage hands out. */
function certificateOrigin(
  {
    RELAY_TLS_CERTIFICATE: chainPem,
    RELAY_TLS_KEY: keyPem,
    RELAY_STATE_DIR: stateDir,
  }: SettingsOf<RelayShape>,
  environment: Readonly<Record<string, string | undefined>>,
): Result<CertificateOrigin, string> {
  if (chainPem === undefined && keyPem === undefined) {
    return stateDir === undefined
      ? fail(
          'RELAY_STATE_DIR: expected a directory in which the certificate of the vantage is kept; or give RELAY_TLS_CERTIFICATE and RELAY_TLS_KEY',
        )
      : ok({ from: 'vantage', stateDir });
  }
  if (chainPem === undefined || keyPem === undefined) {
    return fail('RELAY_TLS_CERTIFICATE and RELAY_TLS_KEY: expected both of them, or neither');
  }
  const read = readServerCertificate({ chainPem, keyPem }, []);
  if (!read.ok) return fail(`RELAY_TLS_CERTIFICATE: ${read.fault}`);
  return ok({
    from: 'files',
    certificatePath: environment['RELAY_TLS_CERTIFICATE'] ?? '',
    keyPath: environment['RELAY_TLS_KEY'] ?? '',
  });
}
