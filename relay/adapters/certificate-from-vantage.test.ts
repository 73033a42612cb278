/** Fetching a certificate from a vantage's real port: what is taken, kept and refused, and what happens without it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makePinnedIdentity } from '../../fleet/certificates.ts';
import { certificateRoute } from '../../healthcheck/acme/certificate-route.ts';
import { type DoorRefusal, startFleetPort } from '../../healthcheck/adapters/fleet-port.ts';
import { systemClock } from '../../system/clock.ts';
import { type PinnedDestination, pinOf } from '../../system/pinned-tls.ts';
import { systemRandom } from '../../system/random.ts';
import { ok } from '../../system/result.ts';
import type { CertificatePair } from '../../system/server-certificate.ts';
import type { CertificateSource } from '../certificate.ts';
import { certificatesFromVantage } from './certificate-from-vantage.ts';

const context = { wallMs: systemClock.wallMs(), random: systemRandom };
const [vantage, relay, other] = [
  await makePinnedIdentity(context, 'vantage'),
  await makePinnedIdentity(context, 'relay'),
  await makePinnedIdentity(context, 'other'),
];
const directory = mkdtempSync(join(tmpdir(), 'from-vantage-'));
const refusals: DoorRefusal[] = [];
let current: CertificatePair | undefined;
let port: Awaited<ReturnType<typeof startFleetPort>>;

beforeAll(async () => {
  port = await startFleetPort({
    endpoint: { host: '127.0.0.1', port: 0 },
    identity: vantage,
    callerWith: (pin) => (pin === pinOf(relay.publicKeySpki) ? { kind: 'relay', name: 'aws' } : undefined),
    routes: [certificateRoute('aws', () => current)],
    clock: systemClock,
    refused: (reason) => refusals.push(reason),
  });
});
afterAll(async () => {
  await port.close();
  rmSync(directory, { recursive: true, force: true });
});

function destination(over: Partial<PinnedDestination> = {}): PinnedDestination {
  const pins = [pinOf(vantage.publicKeySpki)];
  return { host: '127.0.0.1', port: port.port, serverName: 'vantage', pins, ...over };
}

function source(
  file: string,
  identity = relay,
  vantages: readonly PinnedDestination[] = [destination()],
): CertificateSource {
  return certificatesFromVantage({ vantage: () => vantages, identity, path: join(directory, file) });
}

const A = { chainPem: 'chain A', keyPem: 'key A' };
const B = { chainPem: 'chain B', keyPem: 'key B' };

test('none yet, then one, then the same, then the next', async () => {
  const from = source('first.json');
  current = undefined;
  expect(await from.look(undefined)).toMatchObject({ fault: { fault: 'none_yet' } });
  current = A;
  expect(await from.look(undefined)).toEqual(ok(A));
  expect(await from.look(A)).toEqual(ok(undefined));
  expect(await from.look(undefined)).toEqual(ok(A));
  current = B;
  expect(await from.look(A)).toEqual(ok(B));
});

test('what was kept is there at the next start, whoever is away', async () => {
  await source('kept.json').keep?.(A);
  const from = source('kept.json', relay, [destination({ port: 1 })]);
  expect(await from.look(undefined)).toEqual(ok(A));
  expect(await from.look(A)).toMatchObject({ fault: { fault: 'unreachable' } });
});

test('a vantage that shows another key is not believed, and the next address is tried', async () => {
  current = A;
  const wrong = destination({ pins: [pinOf(other.publicKeySpki)] });
  const from = source('addresses.json', relay, [wrong, destination()]);
  expect(await from.look(undefined)).toMatchObject({
    fault: { fault: 'unreachable', detail: expect.stringContaining('does not list') },
  });
  expect(await from.look(undefined)).toEqual(ok(A));
});

test('a key that the manifest does not list is handed nothing, and that is counted', async () => {
  current = A;
  refusals.length = 0;
  expect(await source('stranger.json', other).look(undefined)).toMatchObject({
    fault: { fault: 'refused', detail: expect.stringContaining('403') },
  });
  expect(refusals).toEqual(['key_not_pinned']);
});

test('a manifest without a vantage of this site is told', async () => {
  expect(await source('nowhere.json', relay, []).look(undefined)).toMatchObject({
    fault: { fault: 'unreachable', detail: expect.stringContaining('no vantage') },
  });
});
