/**
 * The private HTTP side.
 */
import { expect, test } from 'vitest';
import { fail, ok } from '../../system/result.ts';
import { createStatusApp } from './status-server.ts';

function app(ready: boolean): ReturnType<typeof createStatusApp> {
  return createStatusApp({
    unready: () => (ready ? [] : ['no_manifest']),
    status: () => ({ site: 'aws' }),
    metricsText: async () => 'vantage_isolated 0\n',
    publishChallenges: async (text) => {
      if (!ready) return undefined;
      return text === '{}' ? ok({ confirmed: ['aws'], missing: [] }) : fail('not_json');
    },
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

async function put(ready: boolean, body: string): Promise<[number, unknown]> {
  const response = await app(ready).request('/acme-challenges', { method: 'PUT', body });
  return [response.status, await response.json()];
}

test('challenges are published by PUT, and refused by name', async () => {
  expect(await put(true, '{}')).toStrictEqual([200, { confirmed: ['aws'], missing: [] }]);
  expect(await put(true, 'x')).toStrictEqual([400, { code: 'not_json' }]);
  expect(await put(true, 'x'.repeat(4097))).toStrictEqual([413, { code: 'body_too_large' }]);
  expect(await put(false, '{}')).toStrictEqual([503, { code: 'not_ready' }]);
});

test('nothing else is there', async () => {
  expect((await app(true).request('/')).status).toBe(404);
});
