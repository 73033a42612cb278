/**
 * The settings of a relay, every one with its bounds and default; docs/configuration.md lists the same.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { Manifest, SiteEntry } from '../fleet/manifest/manifest.ts';
import { type Pin, pinOf } from '../system/pinned-tls.ts';
import { fail, ok, type Result } from '../system/result.ts';
import { readServerCertificate } from '../system/server-certificate.ts';
import {
  contentOf,
  directory,
  type Endpoint,
  endpoint,
  endpoints,
  fileToKeep,
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
  readonly RELAY_MANIFEST_FROM: Setting<readonly Endpoint[] | undefined>;
  readonly RELAY_MANIFEST_KEY: Setting<string>;
  readonly RELAY_MANIFEST_VERSION_MIN: Setting<number>;
  readonly RELAY_LISTEN: Setting<Endpoint>;
  readonly RELAY_PRIVATE_LISTEN: Setting<Endpoint>;
  readonly RELAY_TLS_CERTIFICATE: Setting<string | undefined>;
  readonly RELAY_TLS_KEY: Setting<string | undefined>;
  readonly RELAY_STATE_DIR: Setting<string | undefined>;
  readonly RELAY_PEER_CERTIFICATE: Setting<string>;
  readonly RELAY_PEER_KEY: Setting<string>;
  readonly RELAY_SECRETS: Setting<string | undefined>;
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
  RELAY_MANIFEST: fileToKeep(),
  RELAY_MANIFEST_FROM: optional(endpoints()),
  RELAY_MANIFEST_KEY: text("the operators' Ed25519 public key, 43 characters", /^[A-Za-z0-9_-]{43}$/),
  RELAY_MANIFEST_VERSION_MIN: integer(1, Number.MAX_SAFE_INTEGER, 1),
  RELAY_LISTEN: endpoint(),
  RELAY_PRIVATE_LISTEN: endpoint(),
  RELAY_TLS_CERTIFICATE: optional(contentOf('the certificate chain for the zone and the site, PEM')),
  RELAY_TLS_KEY: optional(contentOf('the private key of RELAY_TLS_CERTIFICATE, PEM')),
  RELAY_STATE_DIR: optional(directory()),
  RELAY_PEER_CERTIFICATE: contentOf('the self-signed certificate shown to peers, PEM'),
  RELAY_PEER_KEY: contentOf('the private key of RELAY_PEER_CERTIFICATE, PEM'),
  RELAY_SECRETS: optional(contentOf('the capability keys and the pepper, JSON')),
  RELAY_STORE: oneOf(['redis', 'memory'], 'redis'),
  RELAY_REDIS: optional(endpoints()),
  RELAY_REDIS_USER: optional(text('a Redis ACL user', /^[\x21-\x7e]{1,64}$/)),
  RELAY_REDIS_PASSWORD: optional(contentOf('the password of the Redis')),
  RELAY_ENVIRONMENT: oneOf(['production', 'local'], 'production'),
  RELAY_MINTING: oneOf(['token', 'open'], 'token'),
  RELAY_OPERATOR_TOKENS: optional(contentOf('one SHA-256 of an operator token per line, in hex')),
  RELAY_CIPHERTEXT_TYPES: text(
    'media types that are ciphertext by themselves, of 64 characters at most, with commas between them',
    /^(?:(?=[^,]{1,64}(?:,|$))[a-z0-9!#$&^_.+-]+\/[a-z0-9!#$&^_.+-]+(?:,(?!$)|$))+$/,
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

/** What a relay process is told at its start. */
export interface RelayBoot {
  readonly settings: SettingsOf<RelayShape>;
  readonly certificate: CertificateOrigin;
  /** SHA-256 of each operator token beside those of the vantages; undefined when minting is open. */
  readonly operatorTokenHashes: readonly Uint8Array[] | undefined;
  /** Of the certificate that is shown to peers. */
  readonly peerPin: Pin;
}

/** The same, with what the manifest says: all that a relay needs to serve. */
export interface RelayConfig extends Omit<RelayBoot, 'peerPin'> {
  /** Its lists of sites and witnesses change while the relay runs: hold on to the lists, and to nothing in them. */
  readonly manifest: Manifest;
  /** As it was at the start; name and provider stay. */
  readonly own: SiteEntry;
  readonly ring: KeyRing;
}

/** Whole, or every fault as a sentence. */
export function readRelayBoot(
  environment: Readonly<Record<string, string | undefined>>,
): Result<RelayBoot, readonly string[]> {
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
  const { RELAY_SECRETS: secrets } = settings;
  const ring = secrets === undefined ? undefined : parseKeyRing(secrets);
  if (ring?.ok === false) faults.push(...ring.fault.map((fault) => `RELAY_SECRETS: ${fault}`));
  const peerPin = peerPinOf(settings);
  if (!peerPin.ok) faults.push(peerPin.fault);
  if (faults.length > 0 || !certificate.ok || !peerPin.ok) return fail(faults);
  const isOpen = settings.RELAY_MINTING === 'open';
  return ok({
    settings,
    certificate: certificate.value,
    operatorTokenHashes: isOpen ? undefined : hashes.map((line) => Buffer.from(line.trim(), 'hex')),
    peerPin: peerPin.value,
  });
}

function peerPinOf(settings: SettingsOf<RelayShape>): Result<Pin, string> {
  try {
    const certificate = new X509Certificate(settings.RELAY_PEER_CERTIFICATE);
    if (!certificate.checkPrivateKey(createPrivateKey(settings.RELAY_PEER_KEY))) {
      return fail('RELAY_PEER_KEY: it does not belong to RELAY_PEER_CERTIFICATE');
    }
    return ok(pinOf(certificate.publicKey.export({ type: 'spki', format: 'der' })));
  } catch {
    return fail('RELAY_PEER_CERTIFICATE, RELAY_PEER_KEY: expected a certificate and its private key (PEM)');
  }
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
