/**
 * What a relay must not remember of the people who use it: marked traffic goes through real relays over real Redis
 * servers, well-behaved and not, and then everything that the relays wrote, and every key and value in their Redis, is
 * searched for the marks.
 */
import { createHash, sign } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { siteOrigin } from '../../fleet/manifest/manifest.ts';
import { parseKeyRing } from '../../relay/core/key-ring.ts';
import { ciphertext } from '../support/ciphertext.ts';
import { eventually } from '../support/eventually.ts';
import { type RedisServer, redisMissing, startRedis } from '../support/redis-server.ts';
import { createRelaySites, type RelaySites } from '../support/relay-sites.ts';
import { createRecipient, type Recipient } from '../support/served-relay.ts';

const reason = redisMissing === undefined ? '' : ` (skipped: ${redisMissing})`;
const MINUTES_MS = 120_000;
const TOPIC = 'marked-topic-Zq7x';
const IDEMPOTENCY_KEY = 'marked-key-Yp3w';
const USER_AGENT = 'marked-agent-Xo9v';
const QUERY = 'marked-query-Wn5u';
const OPERATOR_TOKEN = 'marked-operator-token-Vm1t';
/** Where senders, recipients and strangers come from; nothing else of the test uses these. */
const ADDRESSES = { sender: '127.66.101.17', recipient: '127.66.102.18', stranger: '127.66.103.19' } as const;

let sites: RelaySites;
let redis: readonly RedisServer[];
let recipient: Recipient;

interface Answer {
  readonly status: number;
  readonly body: string;
}

interface Asked {
  readonly from: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
}

async function ask(site: string, method: string, path: string, asked: Asked): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const { hostname } = new URL(originOf(site));
  const outgoing = request(
    {
      host: sites.layouts.find(({ name }) => name === site)?.relayAddress,
      port: sites.ports.relay,
      servername: hostname,
      ca: sites.identities.authorityPem,
      localAddress: asked.from,
      agent: false,
      method,
      path,
      headers: { 'User-Agent': USER_AGENT, ...asked.headers },
    },
    (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') }),
      );
    },
  );
  outgoing.on('error', reject);
  outgoing.end(asked.body);
  return promise;
}

function originOf(site: string): string {
  return siteOrigin(sites.identities.manifest, site);
}

function tokenFor(site: string): Promise<string> {
  return recipient.token({ audience: originOf(site) });
}

async function push(
  site: string,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<number> {
  const { status } = await ask(site, 'POST', `${path}?q=${QUERY}`, {
    from: ADDRESSES.sender,
    headers: { TTL: '600', 'Content-Encoding': 'aes128gcm', Topic: TOPIC, ...headers },
    body: ciphertext(`for ${site}`),
  });
  return status;
}

/** Ids of what is pending for the recipient at a site. */
async function poll(site: string): Promise<readonly string[]> {
  const headers = { Authorization: `Bearer ${await tokenFor(site)}` };
  const { body } = await ask(site, 'GET', '/v1/messages?wait=5', { from: ADDRESSES.recipient, headers });
  return (JSON.parse(body) as { messages: readonly { id: string }[] }).messages.map(({ id }) => id);
}

async function ack(site: string, id: string): Promise<number> {
  const line = Buffer.concat([Buffer.from('archipelago ack v1\n'), Buffer.from(id, 'base64url')]);
  const signature = sign(null, line, recipient.privateKey).toString('base64url');
  const headers = { Authorization: `Bearer ${await tokenFor(site)}` };
  const body = JSON.stringify({ ids: [id], signature });
  return (await ask(site, 'POST', '/v1/acks', { from: ADDRESSES.recipient, headers, body })).status;
}

/** Opens a WebSocket, says hello and leaves after the first message or the close. */
async function receiveOnce(site: string, token: string, from: string): Promise<void> {
  const host = sites.layouts.find(({ name }) => name === site)?.relayAddress ?? '';
  const socket = new WebSocket(`wss://${host}:${sites.ports.relay}/v1/ws`, ['relay.v1'], {
    rejectUnauthorized: false,
    localAddress: from,
    headers: { 'User-Agent': USER_AGENT },
  });
  socket.on('message', (_, isBinary) => {
    if (isBinary) socket.close();
  });
  await once(socket, 'open');
  socket.send(JSON.stringify({ t: 'hello', tokens: [token], window: 4 }));
  await once(socket, 'close');
}

async function misbehave(): Promise<void> {
  const from = ADDRESSES.stranger;
  const damaged = `${recipient.path.slice(0, -2)}AA`;
  const token = await tokenFor('gcp');
  const mint = { from, headers: { Authorization: 'Bearer wrong' }, body: JSON.stringify({ token }) };
  expect(await push('aws', damaged)).toBe(404);
  expect(await push('aws', recipient.path, { TTL: 'soon' })).toBe(400);
  expect((await ask('aws', 'POST', '/v1/push-urls', mint)).status).toBe(401);
  const foreign = { from, headers: { Authorization: `Bearer ${token}` } };
  expect((await ask('aws', 'GET', '/v1/messages', foreign)).status).toBe(401);
  await receiveOnce('aws', token, from);
}

beforeEach(async () => {
  sites = await createRelaySites();
  redis = [];
  const secrets = readFileSync(sites.identities.files.secrets, 'utf8');
  const ring = parseKeyRing(secrets);
  if (!ring.ok) throw new Error(ring.fault.join());
  recipient = createRecipient(ring.value);
});

afterEach(async () => {
  await sites[Symbol.asyncDispose]();
  await Promise.all(redis.map((server) => server.stop()));
});

async function startAll(): Promise<void> {
  redis = await Promise.all(sites.layouts.map(() => startRedis()));
  const operators = join(sites.directory, 'operator-tokens');
  writeFileSync(operators, `${createHash('sha256').update(OPERATOR_TOKEN).digest('hex')}\n`);
  for (const [place, { name }] of sites.layouts.entries()) {
    sites.start(name, {
      RELAY_STORE: 'redis',
      RELAY_REDIS: `${redis[place]?.host}:${redis[place]?.port}`,
      RELAY_MINTING: 'token',
      RELAY_OPERATOR_TOKENS: operators,
      RELAY_LOG_LEVEL: 'debug',
    });
  }
  await Promise.all(sites.layouts.map(({ name }) => sites.untilStatus(name, 200)));
}

/** How each type of value is read whole. */
const READS: Readonly<Record<string, readonly string[]>> = {
  hash: ['HGETALL'],
  zset: ['ZRANGE', '0', '-1'],
  string: ['GET'],
};

/** Names of all keys of a Redis, and everything that is in them. */
async function readRedis({
  host,
  port,
}: RedisServer): Promise<{ readonly keys: Buffer; readonly values: Buffer }> {
  const client = new Redis({ host, port });
  const keys = await client.keysBuffer('*');
  const values: Buffer[] = [];
  for (const key of keys) {
    const read = READS[await client.type(key)];
    if (read === undefined) throw new Error('a relay keeps hashes, sorted sets and strings');
    const [command = '', ...range] = read;
    const reply: unknown = await client.callBuffer(command, key, ...range);
    for (const part of Array.isArray(reply) ? reply : [reply]) if (Buffer.isBuffer(part)) values.push(part);
  }
  client.disconnect();
  return { keys: Buffer.concat(keys), values: Buffer.concat(values) };
}

/** The forms in which bytes may be written down. */
function formsOf(bytes: Buffer): readonly (string | Buffer)[] {
  return [bytes, bytes.toString('base64url'), bytes.toString('base64'), bytes.toString('hex')];
}

function expectNone(
  where: string,
  text: Buffer,
  marks: Readonly<Record<string, readonly (string | Buffer)[]>>,
): void {
  for (const [what, forms] of Object.entries(marks)) {
    for (const form of forms) expect(text.includes(form), `${what} in ${where}`).toBe(false);
  }
}

describe.skipIf(redisMissing !== undefined)(`what a relay remembers${reason}`, () => {
  test('names nobody who sent or received', { timeout: MINUTES_MS }, async () => {
    await startAll();
    const token = await tokenFor('aws');
    const minted = await ask('aws', 'POST', '/v1/push-urls', {
      from: ADDRESSES.recipient,
      headers: { Authorization: `Bearer ${OPERATOR_TOKEN}` },
      body: JSON.stringify({ token }),
    });
    const { push: pushUrl } = JSON.parse(minted.body) as { push: string };
    const { pathname } = new URL(pushUrl);
    expect(await push('aws', pathname, { 'Idempotency-Key': IDEMPOTENCY_KEY })).toBe(201);
    expect(await push('gcp', recipient.path, { Topic: `${TOPIC}2` })).toBe(201);
    await receiveOnce('aws', token, ADDRESSES.recipient);
    const ids = await eventually('both', async () => {
      const found = await poll('hetzner');
      return found.length === 2 ? found : undefined;
    });
    expect(await ack('hetzner', ids[0] ?? '')).toBe(204);
    await misbehave();
    // A store that goes away makes relays complain; they must not complain about somebody.
    await redis[0]?.kill();
    await sites.untilStatus('aws', 503);
    await push('aws', recipient.path);
    const metrics = await Promise.all(sites.layouts.map(({ name }) => sites.metrics(name)));
    await Promise.all(sites.layouts.map(({ name }) => sites.stop(name)));
    const written = sites.layouts.map(({ name }, place) => sites.output(name) + metrics[place]);

    const capabilities = [pathname, recipient.path].map((path) => path.slice('/p/'.length));
    const people = {
      address: Object.values(ADDRESSES),
      capability: capabilities.flatMap((text) => [
        text,
        text.slice(8, 32),
        ...formsOf(Buffer.from(text, 'base64url')),
      ]),
      'mailbox id': formsOf(Buffer.from(recipient.id, 'base64url')),
      'mailbox token': [token, token.split('.')[2] ?? ''],
      'operator token': [OPERATOR_TOKEN],
      topic: [TOPIC],
      'idempotency key': [IDEMPOTENCY_KEY],
      'user agent': [USER_AGENT],
      query: [QUERY],
    };
    const names = {
      'message id': ids.flatMap((id) => formsOf(Buffer.from(id, 'base64url'))),
      'mailbox key': formsOf(recipient.publicKey),
    };
    const tag = { 'mailbox tag': [recipient.tag] };
    for (const [place, { name }] of sites.layouts.entries()) {
      expect(written[place]).toContain('relay_refused_total');
      expectNone(`what ${name} wrote`, Buffer.from(written[place] ?? ''), { ...people, ...names, ...tag });
    }
    for (const [place, server] of redis.entries()) {
      if (place === 0) continue;
      const { keys, values } = await readRedis(server);
      // The search would find what is there: the mailbox's keyed name, and the raw id of what is not acked.
      expect(keys.includes(recipient.tag)).toBe(true);
      expect(values.includes(Buffer.from(ids[1] ?? '', 'base64url'))).toBe(true);
      expectNone('a key', keys, { ...people, ...names });
      expectNone('a value', values, people);
    }
  });
});
