/** What a page gives away with a request, which only a browser would show. */
import { afterEach, expect, test, vi } from 'vitest';
import { webClock } from './web-clock.ts';
import { createWebTransport } from './web-transport.ts';

afterEach(() => {
  vi.unstubAllGlobals();
});

test('no cookie, no referrer and no cached answer, and no redirect is followed', async () => {
  const asked: RequestInit[] = [];
  vi.stubGlobal('fetch', (_: string, init: RequestInit) => {
    asked.push(init);
    return Promise.resolve(new Response(null, { status: 204 }));
  });
  const request = { origin: 'https://relay.test', method: 'DELETE', path: '/m/x', headers: {} } as const;
  expect(await createWebTransport(webClock).request(request, { timeoutMs: 1000 })).toMatchObject({
    status: 204,
  });
  expect(asked).toMatchObject([
    { credentials: 'omit', referrerPolicy: 'no-referrer', cache: 'no-store', redirect: 'error' },
  ]);
});
