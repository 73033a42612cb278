/**
 * The HTTPS server for clients, with limits where Node's defaults are wide: the head of a request within 10 s, all
 * of it within 15 s, 8 KiB of headers.
 */
import { createServer, type Server } from 'node:https';
import type { SecureContextOptions } from 'node:tls';
import type { CertificatePair } from '../../system/server-certificate.ts';
import type { Recipients } from '../recipients.ts';
import type { PublicApp } from './public-app.ts';

export interface ClientLimits {
  readonly handshakeTimeoutMs: number;
  readonly headersTimeoutMs: number;
  readonly requestTimeoutMs: number;
  /** How often the two above are checked. */
  readonly checkEveryMs: number;
}

const LIMITS: ClientLimits = {
  handshakeTimeoutMs: 10_000,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 15_000,
  checkEveryMs: 1000,
};

const MIN_VERSION = 'TLSv1.2';

/**
 * A server that does not listen; the front door hands it connections. Without a certificate every handshake fails.
 */
export function createClientServer(
  certificate: CertificatePair | undefined,
  app: PublicApp,
  recipients: Recipients,
  limits: Partial<ClientLimits> = {},
): Server {
  const { handshakeTimeoutMs, headersTimeoutMs, requestTimeoutMs, checkEveryMs } = { ...LIMITS, ...limits };
  const server = createServer(
    {
      ...secureContextOf(certificate),
      // With ALPNProtocols Node keeps a small piece of a large buffer for every connection, and with it the whole.
      ALPNCallback: ({ protocols }) => protocols.find((name) => name === 'http/1.1'),
      handshakeTimeout: handshakeTimeoutMs,
      headersTimeout: headersTimeoutMs,
      requestTimeout: requestTimeoutMs,
      connectionsCheckingInterval: checkEveryMs,
      keepAliveTimeout: 20_000,
      maxHeaderSize: 8192,
    },
    app,
  );
  server.on('upgrade', recipients.upgrade);
  server.on('tlsClientError', () => undefined);
  return server;
}

/** From the next handshake on the server shows this one; connections that exist go on. */
export function showCertificate(server: Server, certificate: CertificatePair): void {
  server.setSecureContext(secureContextOf(certificate));
}

/** A server forgets whatever of this it is not told again. */
function secureContextOf(certificate: CertificatePair | undefined): SecureContextOptions {
  return {
    minVersion: MIN_VERSION,
    ...(certificate === undefined ? {} : { cert: certificate.chainPem, key: certificate.keyPem }),
  };
}
