/**
 * The HTTPS server for clients, with limits where Node's defaults are wide: the head of a request within 10 s, all
 * of it within 15 s, 8 KiB of headers.
 */
import { createServer, type Server } from 'node:https';
import { getRequestListener } from '@hono/node-server';
import type { Recipients } from '../recipients.ts';
import type { PublicApp } from './public-app.ts';

/** A server that does not listen; the front door hands it connections. */
export function createClientServer(
  tls: { readonly certificatePem: string; readonly keyPem: string },
  app: PublicApp,
  recipients: Recipients,
): Server {
  const listener = getRequestListener(app.fetch);
  const server = createServer(
    {
      cert: tls.certificatePem,
      key: tls.keyPem,
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['http/1.1'],
      headersTimeout: 10_000,
      requestTimeout: 15_000,
      connectionsCheckingInterval: 1000,
      keepAliveTimeout: 20_000,
      maxHeaderSize: 8192,
    },
    (request, response) => {
      void listener(request, response);
    },
  );
  server.on('upgrade', recipients.upgrade);
  server.on('tlsClientError', () => undefined);
  return server;
}
