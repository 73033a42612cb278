/**
 * The private HTTP side of a vantage, for supervisors, scrapers and drills: never reachable from outside the site.
 *
 * `/livez` asks whether to restart the process, `/readyz` whether it answers DNS queries. An isolated vantage is
 * ready: a nameserver must not fall silent because it cannot see the sites (R1 in the reference).
 */
import { createAdaptorServer } from '@hono/node-server';
import { Hono } from 'hono';
import type { Endpoint } from '../../system/settings.ts';
import { listenAt } from './listen.ts';

export interface StatusOptions {
  readonly ready: () => boolean;
  /** A JSON value. */
  readonly status: () => unknown;
  /** Prometheus text format 0.0.4. */
  readonly metricsText: () => Promise<string>;
}

/**
 * The routes of the private port: `/livez`, `/readyz`, `/metrics` (Prometheus text format 0.0.4), `/status` (JSON).
 */
export function createStatusApp({ ready, status, metricsText }: StatusOptions): Hono {
  const app = new Hono();
  app.get('/livez', (context) => context.body(null, 200));
  app.get('/readyz', (context) => context.body(null, ready() ? 200 : 503));
  app.get('/metrics', async (context) =>
    context.body(await metricsText(), 200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }),
  );
  app.get('/status', (context) => context.json(status() as object));
  return app;
}

/** Serves the app; rejects with a ListenError. */
export async function startStatusServer(
  endpoint: Endpoint,
  options: StatusOptions,
): Promise<{ readonly port: number; close(): Promise<void> }> {
  const server = createAdaptorServer({ fetch: createStatusApp(options).fetch });
  if (!('closeAllConnections' in server)) throw new TypeError('expected an HTTP/1.1 server');
  const port = await listenAt(server, 'private HTTP', endpoint);
  return {
    port,
    close: async () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      server.close(() => resolve());
      server.closeAllConnections();
      await promise;
    },
  };
}
