/**
 * The private port of a relay process: it is there from the beginning to the end, whether there is a relay or not.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import type { Metrics } from '../../system/metrics.ts';
import type { Endpoint } from '../../system/settings.ts';
import { listen } from '../adapters/listen.ts';
import { createPrivateApp, type ReadinessReasons } from './private-app.ts';

/** Serves it until the resources are released. Rejects when it cannot listen. */
export async function servePrivately(
  at: Endpoint,
  reasons: ReadinessReasons,
  metrics: Metrics,
  resources: AsyncDisposableStack,
): Promise<void> {
  const listener = getRequestListener(createPrivateApp(reasons, metrics).fetch);
  const server = createServer((request, response) => {
    void listener(request, response);
  });
  await listen(server, at, 'RELAY_PRIVATE_LISTEN');
  resources.defer(async () => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  });
}
