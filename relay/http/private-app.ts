/**
 * What supervisors, load balancers and operators ask, on a port that is not public.
 *
 * Two questions that must not be mixed: `/livez` (restart or replace me?) and `/readyz` (send me clients?). Instance
 * replacement watches the first only; a partition makes every healthy relay unready at once.
 */
import { Hono } from 'hono';
import type { Metrics } from '../../system/metrics.ts';

/** Everything that speaks against sending clients here, in words for people; empty when ready. */
export type ReadinessReasons = () => readonly string[];

/** The routes of the private port: `/livez`, `/readyz` with reasons, `/metrics` (Prometheus text format 0.0.4). */
export function createPrivateApp(reasonsNow: ReadinessReasons, metrics: Metrics): Hono {
  const app = new Hono();
  app.get('/livez', (context) => context.text('alive\n'));
  app.get('/readyz', (context) => {
    const reasons = reasonsNow();
    return context.json({ ready: reasons.length === 0, reasons }, reasons.length === 0 ? 200 : 503);
  });
  app.get('/metrics', async (context) =>
    context.text(await metrics.text(), 200, { 'Content-Type': 'text/plain; version=0.0.4; charset=utf-8' }),
  );
  return app;
}
