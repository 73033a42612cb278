/**
 * Reaching the world, with real TLS.
 */
import { createServer, type Server } from 'node:tls';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { issueServerCertificate, makeAuthority } from '../../fleet/certificates.ts';
import { DEFAULT_HEALTH_POLICY } from '../../fleet/manifest/manifest.ts';
import { systemClock } from '../../system/clock.ts';
import { systemRandom } from '../../system/random.ts';
import { eventually } from '../../test/support/eventually.ts';
import { createOutsideProbe } from './external-canary.ts';
import { probeTrust } from './https-probe.ts';

const context = { wallMs: Date.now(), random: systemRandom };
const authority = await makeAuthority(context);
const certificate = await issueServerCertificate(context, authority, ['canary.example.net']);
const ADDRESS = '127.44.9.1';

let server: Server;
let port: number;
beforeEach(async () => {
  server = createServer({ cert: certificate.certificatePem, key: certificate.keyPem });
  await new Promise<void>((resolve) => server.listen(0, ADDRESS, resolve));
  const bound = server.address();
  port = typeof bound === 'object' && bound !== null ? bound.port : 0;
});
afterEach(async () => new Promise((resolve) => server.close(resolve)));

function probeOf(
  name: string,
  policy: Partial<typeof DEFAULT_HEALTH_POLICY> = {},
): { readonly look: () => void; readonly told: boolean[] } {
  const told: boolean[] = [];
  const look = createOutsideProbe({
    manifest: {
      externalCanaries: [{ address: ADDRESS, port, name }],
      health: { ...DEFAULT_HEALTH_POLICY, ...policy },
    },
    trust: probeTrust(authority.certificatePem),
    clock: systemClock,
    reached: (reached) => told.push(reached),
  });
  return { look, told };
}

test('a verified handshake is the world; before it there is none', async () => {
  const { look, told } = probeOf('canary.example.net');
  look();
  expect(told).toStrictEqual([false]);
  await eventually('the canary is reached', () => told.at(-1) === true || undefined);
});

test('somebody who answers under a certificate for another name is not the world', async () => {
  const { look, told } = probeOf('other.example.net');
  const answered = new Promise((resolve) =>
    server.once('connection', (socket) => socket.once('close', resolve)),
  );
  look();
  await answered;
  look();
  expect(told).not.toContain(true);
});

test('a success wears off', async () => {
  const { look, told } = probeOf('canary.example.net', { probeIntervalMs: 20, probeTimeoutMs: 10_000 });
  look();
  await eventually('the canary is reached', () => told.at(-1) === true || undefined);
  await new Promise((resolve) => server.close(resolve));
  await eventually('it is long ago', () => {
    look();
    return told.at(-1) === false || undefined;
  });
  server.listen(0, ADDRESS);
});
