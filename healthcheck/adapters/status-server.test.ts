/**
 * The private HTTP side.
 */
import { expect, test } from 'vitest';
import { createStatusApp } from './status-server.ts';

function app(ready: boolean): ReturnType<typeof createStatusApp> {
  return createStatusApp({
    ready: () => ready,
    status: () => ({ site: 'aws' }),
    metricsText: async () => 'vantage_isolated 0\n',
  });
}

test('a vantage lives before it is ready', async () => {
  expect((await app(false).request('/livez')).status).toBe(200);
  expect((await app(false).request('/readyz')).status).toBe(503);
  expect((await app(true).request('/readyz')).status).toBe(200);
});

test('status is JSON and metrics are Prometheus text', async () => {
  expect(await (await app(true).request('/status')).json()).toStrictEqual({ site: 'aws' });
  const metrics = await app(true).request('/metrics');
  expect(metrics.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
  expect(await metrics.text()).toBe('vantage_isolated 0\n');
});

test('nothing else is there', async () => {
  expect((await app(true).request('/')).status).toBe(404);
});
