/** A relay that waits, seen from outside: by the gate of a rollout, and by whoever else asks. */

import { request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { makePinnedIdentity } from '../fleet/certificates.ts';
import { waitUntilGood } from '../infra/rollout.ts';
import { systemRandom } from '../system/random.ts';
import { openWaitingDoor } from './waiting-door.ts';

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => {
    server.close(resolve);
  });
  return port;
}

async function statusOf(port: number, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    request(`https://127.0.0.1:${port}${path}`, { rejectUnauthorized: false, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    })
      .once('error', reject)
      .end();
  });
}

test('a relay that waits is not ready for clients, and good for a rollout; then its port is free', async () => {
  const at = { host: '127.0.0.1', port: await freePort() };
  const identity = await makePinnedIdentity({ wallMs: Date.now(), random: systemRandom }, 'relay');
  let reason = 'no_manifest';
  {
    await using _ = await openWaitingDoor({ at, ...identity, reason: () => reason });
    await waitUntilGood(`127.0.0.1:${at.port}`, 1000);
    expect(await statusOf(at.port, '/readyz')).toBe(503);
    expect(await statusOf(at.port, '/v1/info')).toBe(404);
    reason = 'something_else';
    await expect(waitUntilGood(`127.0.0.1:${at.port}`, 100)).rejects.toThrow('503');
  }
  await expect(statusOf(at.port, '/readyz')).rejects.toThrow('ECONNREFUSED');
});
