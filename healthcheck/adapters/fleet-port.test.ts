/**
 * The door of the fleet's port: who is known by which key, and what strangers may not have.
 */
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { connect, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { identityOfKey, makePinnedIdentity } from '../../fleet/certificates.ts';
import type { Manifest } from '../../fleet/manifest/manifest.ts';
import { systemClock } from '../../system/clock.ts';
import { type PinnedIdentity, pinOf } from '../../system/pinned-tls.ts';
import { systemRandom } from '../../system/random.ts';
import { eventually } from '../../test/support/eventually.ts';
import { testManifest } from '../../test/support/manifests.ts';
import type { Held } from '../documents.ts';
import { callerWith } from '../fleet-routes.ts';
import { type DoorRefusal, type Route, startFleetPort } from './fleet-port.ts';

const context = { wallMs: Date.now(), random: systemRandom };
const HOST = '127.46.0.1';
const jwk = (): { readonly x: string } => {
  const made = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  return { ...made, x: made.x ?? '' };
};
const [operators, ada] = [jwk(), jwk()];
const [vantage, relay, stranger] = await Promise.all(
  ['vantage', 'relay', 'stranger'].map(async (name) => makePinnedIdentity(context, name)),
);
const base = testManifest(['aws', 'gcp']);
const manifest: Manifest = {
  ...base,
  onCallKeys: [{ name: 'ada', publicKey: ada.x }],
  sites: base.sites.map((site) =>
    site.name === 'gcp'
      ? {
          ...site,
          relay: { ...site.relay, pins: [pinOf(relay?.publicKeySpki ?? new Uint8Array())] },
          vantage: { ...site.vantage, pins: [pinOf(vantage?.publicKeySpki ?? new Uint8Array())] },
        }
      : site,
  ),
};
const whole: Held = { manifest, inForce: manifest, signed: '', overrides: undefined, tag: '""' };

let resources: AsyncDisposableStack;
let refusals: DoorRefusal[];
let held: Held | undefined;
let port: number;

const routes: readonly Route[] = [
  {
    method: 'GET',
    path: '/who',
    callers: ['vantage', 'relay', 'person', 'stranger'],
    answer: ({ caller }) => ({ status: 200, body: `${caller.kind} ${caller.name}` }),
  },
  { method: 'GET', path: '/known', callers: ['vantage', 'person'], answer: () => ({ status: 204 }) },
  {
    method: 'POST',
    path: '/body',
    callers: ['stranger'],
    bodyBytesMax: 8,
    answer: ({ body, query }) => ({ status: 200, body: `${body} ${query.get('q')}` }),
  },
  {
    method: 'GET',
    path: '/bug',
    callers: ['stranger'],
    answer: () => {
      throw new Error('a bug');
    },
  },
];

beforeEach(async () => {
  resources = new AsyncDisposableStack();
  refusals = [];
  held = whole;
  const started = await startFleetPort({
    endpoint: { host: HOST, port: 0 },
    identity: await makePinnedIdentity(context, 'aws'),
    clock: systemClock,
    callerWith: (pin) => callerWith(pin, held, operators.x),
    routes,
    refused: (reason) => refusals.push(reason),
  });
  resources.defer(async () => started.close());
  port = started.port;
});
afterEach(async () => resources.disposeAsync());

async function ask(
  path: string,
  { as, method = 'GET', body, from = HOST }: Partial<Asking> = {},
): Promise<readonly [number, string]> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  request({
    host: HOST,
    port,
    path,
    method,
    localAddress: from,
    agent: false,
    rejectUnauthorized: false,
    ...(as === undefined ? {} : { cert: as.certificatePem, key: as.keyPem }),
  })
    .once('response', resolve)
    .once('error', reject)
    .end(body);
  const response = await promise;
  let text = '';
  for await (const chunk of response.setEncoding('utf8') as AsyncIterable<string>) text += chunk;
  return [response.statusCode ?? 0, text];
}

interface Asking {
  readonly as: PinnedIdentity | undefined;
  readonly method: string;
  readonly body: string;
  readonly from: string;
}

test('a caller is whoever the manifest lists its key for', async () => {
  const [onCall, offline] = [await identityOfKey(context, ada), await identityOfKey(context, operators)];
  const said = await Promise.all(
    [vantage, relay, onCall, offline, stranger, undefined].map(async (as) => (await ask('/who', { as }))[1]),
  );
  expect(said).toStrictEqual([
    'vantage gcp',
    'relay gcp',
    'person ada',
    'person operators',
    'stranger ',
    'stranger ',
  ]);
  held = undefined;
  expect((await ask('/who', { as: vantage }))[1]).toBe('stranger ');
  expect((await ask('/who', { as: offline }))[1]).toBe('person operators');
});

test('what is refused has a status and a name', async () => {
  const codes = [
    await ask('/known'),
    await ask('/nowhere'),
    await ask('/body', { method: 'POST', body: 'too long a body' }),
    await ask('/bug'),
  ].map(([status, text]) => [status, (JSON.parse(text) as { code: string }).code]);
  expect(codes).toStrictEqual([
    [403, 'key_not_pinned'],
    [404, 'route_unknown'],
    [413, 'body_too_large'],
    [500, 'failed'],
  ]);
  expect(refusals).toStrictEqual(['key_not_pinned', 'route_unknown', 'body_too_large', 'failed']);
  expect(await ask('/body?q=1', { method: 'POST', body: 'short' })).toStrictEqual([200, 'short 1']);
});

test('a stranger who asks too fast waits, and only that one', async () => {
  const statuses: number[] = [];
  for (let count = 0; count < 60 && statuses.at(-1) !== 429; count += 1) {
    statuses.push((await ask('/who', { from: '127.46.0.7' }))[0]);
  }
  expect(statuses.at(-1)).toBe(429);
  expect(statuses.length).toBeGreaterThan(20);
  expect((await ask('/who', { from: '127.46.0.8' }))[0]).toBe(200);
  expect((await ask('/who', { from: '127.46.0.7', as: vantage }))[0]).toBe(200);
});

test('connections of strangers do not keep others out: the oldest makes room', async () => {
  const open: TLSSocket[] = [];
  resources.defer(() => open.forEach((socket) => socket.destroy()));
  for (let count = 0; count < 65; count += 1) {
    const socket = connect({ host: HOST, port, rejectUnauthorized: false });
    socket.on('error', () => undefined);
    await once(socket, 'secureConnect');
    open.push(socket.resume());
  }
  await eventually('the first is closed', () => (open[0]?.closed === true ? true : undefined));
  expect(refusals).toContain('too_many_connections');
  expect((await ask('/who', { as: vantage }))[1]).toBe('vantage gcp');
  // Nobody is kept who says nothing.
  await eventually('all are closed', () => (open.every(({ closed }) => closed) ? true : undefined));
});
