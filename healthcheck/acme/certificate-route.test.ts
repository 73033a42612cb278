/** Who is handed the certificate and its key: the relays of the own site, and only what they do not have. */
import { expect, test } from 'vitest';
import type { CertificatePair } from '../../system/server-certificate.ts';
import type { FleetReply } from '../adapters/fleet-port.ts';
import { certificateRoute } from './certificate-route.ts';

const PAIR = { chainPem: 'chain', keyPem: 'key' };

async function ask(
  current: CertificatePair | undefined,
  name: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<FleetReply> {
  const caller = { kind: 'relay', name } as const;
  return certificateRoute('aws', () => current).answer({
    caller,
    headers,
    query: new URLSearchParams(),
    body: '',
  });
}

test('a relay of the own site gets chain and key, once', async () => {
  const reply = await ask(PAIR, 'aws');
  expect(reply.status).toBe(200);
  expect(JSON.parse(reply.body ?? '')).toEqual(PAIR);
  const tag = reply.headers?.['etag'] ?? '';
  expect(await ask(PAIR, 'aws', { 'if-none-match': tag })).toEqual({ status: 304, headers: { etag: tag } });
  expect((await ask({ ...PAIR, chainPem: 'next' }, 'aws', { 'if-none-match': tag })).status).toBe(200);
});

test('before there is one it is told so, and relays of other sites learn nothing', async () => {
  expect(await ask(undefined, 'aws')).toMatchObject({
    status: 404,
    body: expect.stringContaining('"no_certificate"'),
  });
  const refused = await ask(PAIR, 'gcp');
  expect(refused).toMatchObject({ status: 403, body: expect.stringContaining('"another_site"') });
  expect(refused.body).not.toContain('"key"');
});

test('nobody but relays has this route', () => {
  expect(certificateRoute('aws', () => PAIR).callers).toEqual(['relay']);
});
