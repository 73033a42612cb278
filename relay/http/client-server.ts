/**
 * The HTTPS server for clients, with limits where Node's defaults are wide: the head of a request within 10 s, all
 * of it within 15 s, 8 KiB of headers.
 */
import { createServer, type Server } from 'node:https';
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

/** A server that does not listen; the front door hands it connections. */
export function createClientServer(
  tls: { readonly certificatePem: string; readonly keyPem: string },
  app: PublicApp,
  recipients: Recipients,
  limits: Partial<ClientLimits> = {},
): Server {
  const { handshakeTimeoutMs, headersTimeoutMs, requestTimeoutMs, checkEveryMs } = { ...LIMITS, ...limits };
  const server = createServer(
    {
      cert: tls.certificatePem,
      key: tls.keyPem,
      minVersion: 'TLSv1.2',
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
