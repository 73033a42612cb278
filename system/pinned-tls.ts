/**
 * Mutual TLS between machines that know each other's keys: no certificate authority, no names, no expiry to
 * forget. Each side shows a self-signed certificate, and is believed when the SHA-256 of its public key
 * (SubjectPublicKeyInfo, as in RFC 7469) is among the pins that the manifest lists for a site.
 *
 * TLS 1.3 proves that the other side holds the key (CertificateVerify, RFC 8446 §4.4.3); chain validation is
 * switched off on purpose and replaced by the pin.
 */
import { createHash } from 'node:crypto';
import { type ConnectionOptions, connect, type TLSSocket, type TlsOptions } from 'node:tls';

/** Base64url SHA-256 of a public key in SubjectPublicKeyInfo form. */
export type Pin = string;

export interface PinnedIdentity {
  readonly certificatePem: string;
  readonly keyPem: string;
}

/** SHA-256 of a DER SubjectPublicKeyInfo as base64url (RFC 7469 §2.4 has base64). */
export function pinOf(publicKeySpki: Uint8Array): Pin {
  return createHash('sha256').update(publicKeySpki).digest('base64url');
}

/** What stands before the 32 bytes of an Ed25519 key in its SubjectPublicKeyInfo (RFC 8410 §4). */
const ED25519_SPKI_PREFIX: Uint8Array = Buffer.from('302a300506032b6570032100', 'hex');

/** The pin of an Ed25519 key that is known by its 32 bytes, as base64url. */
export function pinOfEd25519(publicKey: string): Pin {
  return pinOf(Buffer.concat([ED25519_SPKI_PREFIX, Buffer.from(publicKey, 'base64url')]));
}

/** The pin of the certificate that the other side showed, or undefined when it showed none. */
export function peerPin(socket: TLSSocket): Pin | undefined {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return undefined;
  return pinOf(certificate.publicKey.export({ type: 'spki', format: 'der' }));
}

/** Options for a TLS server that asks every client for a certificate; the caller must check `peerPin`. */
export function pinnedServerOptions(identity: PinnedIdentity): TlsOptions {
  return {
    cert: identity.certificatePem,
    key: identity.keyPem,
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.3',
  };
}

/** Options for a TLS client that shows its own certificate; the caller must check `peerPin`. */
function pinnedClientOptions(identity: PinnedIdentity): ConnectionOptions {
  return {
    cert: identity.certificatePem,
    key: identity.keyPem,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.3',
    checkServerIdentity: () => undefined,
  };
}

export interface PinnedDestination {
  readonly host: string;
  readonly port: number;
  /** The name sent in the ClientHello; it only chooses the service behind the port. */
  readonly serverName: string;
  readonly pins: readonly Pin[];
}

/**
 * Connects and resolves once the other side has proved a pinned key. Rejects on any other key, on a connection
 * error, and after `timeoutMs` milliseconds.
 */
export async function connectPinned(
  destination: PinnedDestination,
  identity: PinnedIdentity,
  timeoutMs: number,
): Promise<TLSSocket> {
  const socket = connect({
    ...pinnedClientOptions(identity),
    host: destination.host,
    port: destination.port,
    servername: destination.serverName,
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(() => reject(new Error(`no TLS session within ${timeoutMs} ms`)), timeoutMs);
  socket.once('secureConnect', resolve).once('error', reject);
  const onClose = (): void => reject(new Error('closed during the TLS handshake'));
  socket.once('close', onClose);
  try {
    await promise;
    const pin = peerPin(socket);
    if (pin === undefined || !destination.pins.includes(pin)) {
      throw new Error('the other side showed a key that the manifest does not list');
    }
    socket.setNoDelay(true);
    socket.off('close', onClose).off('error', reject);
    return socket;
  } catch (error) {
    // A late error of a socket that nobody holds any more must not end the process.
    socket.on('error', () => undefined);
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
