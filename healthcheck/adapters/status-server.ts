/**
 * The private HTTP side of a vantage, for supervisors, scrapers and drills: never reachable from outside the site.
 *
 * `/livez` asks whether to restart the process, `/readyz` whether it answers DNS queries. An isolated vantage is
 * ready: a nameserver must not fall silent because it cannot see the sites (R1 in the reference).
 */
import { createAdaptorServer } from '@hono/node-server';
import { Hono } from 'hono';
import type { Result } from '../../system/result.ts';
import type { Endpoint } from '../../system/settings.ts';
import { listenAt } from './listen.ts';

export interface StatusOptions {
  /** Why this vantage does not answer DNS; empty when it does. */
  readonly unready: () => readonly string[];
  /** A JSON value. */
  readonly status: () => unknown;
  /** Prometheus text format 0.0.4. */
  readonly metricsText: () => Promise<string>;
  /** Takes ACME challenges of this site; undefined until the fleet is joined. */
  readonly publishChallenges: (text: string) => Promise<Result<object, string> | undefined>;
}

const CHALLENGES_BYTES_MAX = 4096;

/**
 * The routes of the private port: `/livez`, `/readyz`, `/metrics` (Prometheus text format 0.0.4), `/status` (JSON), and
 * `PUT /acme-challenges`, with which this site's ACME client publishes on all nameservers.
 */
export function createStatusApp({ unready, status, metricsText, publishChallenges }: StatusOptions): Hono {
  const app = new Hono();
  app.get('/livez', (context) => context.body(null, 200));
  app.get('/readyz', (context) => {
    const reasons = unready();
    return context.json({ ready: reasons.length === 0, reasons }, reasons.length === 0 ? 200 : 503);
  });
  app.get('/metrics', async (context) =>
    context.body(await metricsText(), 200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }),
  );
  app.get('/status', (context) => context.json(status() as object));
  app.put('/acme-challenges', async (context) => {
    const text = await context.req.text();
    if (text.length > CHALLENGES_BYTES_MAX) return context.json({ code: 'body_too_large' }, 413);
    const published = await publishChallenges(text);
    if (published === undefined) return context.json({ code: 'not_ready' }, 503);
    return published.ok ? context.json(published.value) : context.json({ code: published.fault }, 400);
  });
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
