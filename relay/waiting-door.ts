/**
 * What a relay shows on its public port while it waits for a manifest: `GET /readyz` is 503 with the reason, and there
 * is nothing else. A load balancer keeps clients away, and whoever rolls out new machines sees through the one open
 * port that this one is alive: infra/rollout.ts.
 *
 * It shows the certificate for peers, which is always there; the one for clients may come with the manifest.
 */
import { once } from 'node:events';
import { createServer } from 'node:https';
import type { Endpoint } from '../system/settings.ts';

/** Nobody but health checkers has business here. */
const CONNECTIONS_MAX = 256;
const REQUEST_TIMEOUT_MS = 5000;
const HEADER_BYTES_MAX = 4096;

export interface WaitingDoorOptions {
  readonly at: Endpoint;
  readonly certificatePem: string;
  readonly keyPem: string;
  /** Why the relay waits: docs/configuration.md. */
  readonly reason: () => string;
}

/** Opens the port; disposing of the result frees it. Rejects when it cannot be had. */
export async function openWaitingDoor(options: WaitingDoorOptions): Promise<AsyncDisposable> {
  const { at, certificatePem, keyPem, reason } = options;
  const server = createServer(
    {
      cert: certificatePem,
      key: keyPem,
      minVersion: 'TLSv1.2',
      handshakeTimeout: REQUEST_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: REQUEST_TIMEOUT_MS,
      maxHeaderSize: HEADER_BYTES_MAX,
    },
    (request, response) => {
      const isAsked = request.method === 'GET' && request.url?.split('?')[0] === '/readyz';
      response.writeHead(isAsked ? 503 : 404, { 'Content-Type': 'application/json', Connection: 'close' });
      response.end(isAsked ? JSON.stringify({ reasons: [reason()] }) : '');
    },
  );
  server.maxConnections = CONNECTIONS_MAX;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject).listen({ host: at.host, port: at.port }, resolve);
  await promise;
  return {
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
