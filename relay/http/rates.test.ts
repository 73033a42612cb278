/** What is refused or shortened because it comes too often, or nobody reads it, or the relay has too much to do. */
import { createHash, randomBytes, sign } from 'node:crypto';
import { once } from 'node:events';
import { afterEach, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { ciphertext } from '../../test/support/ciphertext.ts';
import { eventually } from '../../test/support/eventually.ts';
import {
  createRecipient,
  type Recipient,
  type Reply,
  type ServedRelay,
  type ServedRelayOptions,
  serveRelay,
} from '../../test/support/served-relay.ts';
import { SUBPROTOCOL } from '../core/frame.ts';

const HEADERS = { TTL: '60', 'Content-Encoding': 'aes128gcm' };
let relay: ServedRelay | undefined;

afterEach(async () => {
  await relay?.[Symbol.asyncDispose]();
  relay = undefined;
});

async function serve(options: ServedRelayOptions = {}): Promise<ServedRelay> {
  relay = await serveRelay(options);
  return relay;
}

function expectRefusal(reply: Reply, status: number, code: string): void {
  expect(JSON.parse(reply.body)).toMatchObject({ status, code });
  expect(reply.headers['retry-after'] !== undefined).toBe(status === 429 || status === 503);
}

async function poll(at: ServedRelay, recipient: Recipient = at.recipient): Promise<Reply> {
  const headers = { Authorization: `Bearer ${await recipient.token()}` };
  return at.ask('GET', '/v1/messages?wait=0', { headers });
}

async function mint(at: ServedRelay, token?: string): Promise<Reply> {
  const body = JSON.stringify({ token: await createRecipient(at.ring).token() });
  return at.ask('POST', '/v1/push-urls', {
    body,
    ...(token === undefined ? {} : { headers: { Authorization: `Bearer ${token}` } }),
  });
}

function signedAck(
  recipient: Recipient,
  count: number,
): { readonly ids: Buffer[]; readonly signature: Buffer } {
  const ids = Array.from({ length: count }, () => randomBytes(16));
  const line = Buffer.concat([Buffer.from('archipelago ack v1\n'), ...ids]);
  return { ids, signature: sign(null, line, recipient.privateKey) };
}

interface Client {
  readonly socket: WebSocket;
  readonly closed: Promise<number>;
}

async function hello(at: ServedRelay): Promise<Client> {
  const socket = new WebSocket(`wss://127.0.0.1:${at.port}/v1/ws`, [SUBPROTOCOL], {
    rejectUnauthorized: false,
  });
  const closed = Promise.withResolvers<number>();
  socket.on('error', () => undefined).on('close', (code) => closed.resolve(code));
  await once(socket, 'open');
  socket.send(JSON.stringify({ t: 'hello', tokens: [await at.recipient.token()], window: 8 }));
  return { socket, closed: closed.promise };
}

/** Of many at once, some are refused for themselves, ten at least, and others as too often. */
function expectTooMany(replies: readonly Reply[], status: number, code: string): void {
  const refused = replies.filter((reply) => reply.status === status);
  expect(refused.length).toBeGreaterThanOrEqual(10);
  for (const reply of refused) expectRefusal(reply, status, code);
  const tooMany = replies.filter((reply) => reply.status !== status);
  expect(tooMany.length).toBeGreaterThan(0);
  for (const reply of tooMany) expectRefusal(reply, 429, 'failures_too_fast');
}

test('a mailbox token that is no good is refused by its own name ten times, then as too often', async () => {
  const at = await serve();
  const ask = (token: string): Promise<Reply> =>
    at.ask('GET', '/v1/messages?wait=0', { headers: { Authorization: `Bearer ${token}` } });
  const replies = await Promise.all(Array.from({ length: 40 }, () => ask('bad')));
  expectTooMany(replies, 401, 'mailbox_token_invalid');
  expectRefusal(await ask('other'), 401, 'mailbox_token_invalid');
  expect((await poll(at)).status).toBe(200);
});

test("an operator's token is not to blame for what others put beside it", async () => {
  const hash = createHash('sha256').update('shared').digest();
  const at = await serve({ operatorTokenHashes: [hash] });
  const headers = { Authorization: 'Bearer shared' };
  const body = JSON.stringify({ token: 'a.b.c' });
  const replies = await Promise.all(
    Array.from({ length: 40 }, () => at.ask('POST', '/v1/push-urls', { headers, body })),
  );
  for (const reply of replies) expectRefusal(reply, 401, 'mailbox_token_invalid');
  expect((await mint(at, 'shared')).status).toBe(201);
});

test('a push URL that is no good is refused by its own name ten times, then as too often; another one is not', async () => {
  const at = await serve();
  const send = (path: string): Promise<Reply> =>
    at.ask('POST', path, { headers: HEADERS, body: ciphertext('m') });
  const replies = await Promise.all(Array.from({ length: 40 }, () => send('/p/x')));
  expectTooMany(replies, 404, 'capability_unknown');
  expectRefusal(await send('/p/y'), 404, 'capability_unknown');
  expect((await send(at.recipient.path)).status).toBe(201);
  expect(at.events.happened).toContain('refused failures_too_fast');
});

test('who shows one bad token after the other waits only while the relay has much to do', async () => {
  let isBusy = false;
  const at = await serve({ isBusy: () => isBusy });
  const socket = await at.connect();
  let answers = '';
  socket.on('data', (chunk: Buffer) => {
    answers += chunk.toString('latin1');
  });
  for (let count = 0; count < 200; count += 1) {
    socket.write(
      `GET /v1/messages?wait=0 HTTP/1.1\r\nHost: aws.relay.test\r\nAuthorization: Bearer bad${count}\r\n\r\n`,
    );
  }
  await eventually('all refused', () =>
    answers.split('mailbox_token_invalid').length > 200 ? true : undefined,
  );
  socket.destroy();
  expect((await poll(at)).status).toBe(200);
  isBusy = true;
  const headers = { ...HEADERS, Urgency: 'high' };
  expectRefusal(
    await at.ask('POST', at.recipient.path, { headers, body: ciphertext('m') }),
    503,
    'overloaded',
  );
});

test('a hello with a bad token is one more of its address, which waits with its upgrades, too', async () => {
  let blamed = 0;
  let isUnwelcome = false;
  const at = await serve({
    wrapFailures: (failures) => ({
      ...failures,
      note: (address, credential) => {
        expect([address, credential]).toEqual(['127.0.0.1', undefined]);
        blamed += 1;
      },
      isUnwelcome: () => isUnwelcome,
    }),
  });
  const url = `wss://127.0.0.1:${at.port}/v1/ws`;
  const bad = new WebSocket(url, [SUBPROTOCOL], { rejectUnauthorized: false });
  await once(bad, 'open');
  bad.send(JSON.stringify({ t: 'hello', tokens: ['a.b.c'], window: 1 }));
  await once(bad, 'close');
  await eventually('its end', () => (at.recipients.count() === 0 ? true : undefined));
  expect(blamed).toBe(1);
  isUnwelcome = true;
  const refused = new WebSocket(url, [SUBPROTOCOL], { rejectUnauthorized: false });
  refused.on('error', () => undefined);
  const [, response] = (await once(refused, 'unexpected-response')) as [unknown, { statusCode: number }];
  refused.terminate();
  expect(response.statusCode).toBe(503);
});

test('a relay that is crowded stays ready, and says so', async () => {
  let isBusy = false;
  const at = await serve({ isBusy: () => isBusy });
  expect((await at.ask('GET', '/readyz')).headers).not.toHaveProperty('relay-load');
  isBusy = true;
  expect(await at.ask('GET', '/readyz')).toMatchObject({ status: 200, headers: { 'relay-load': 'crowded' } });
});

test('an operator token makes so many push URLs a second', async () => {
  const hashes = ['one', 'other'].map((token) => createHash('sha256').update(token).digest());
  const at = await serve({ operatorTokenHashes: hashes, asksPerSecond: 1 });
  for (let count = 0; count < 4; count += 1) expect((await mint(at, 'one')).status).toBe(201);
  expectRefusal(await mint(at, 'one'), 429, 'operator_token_too_fast');
  expect((await mint(at, 'other')).status).toBe(201);
});

test('a mailbox is polled and gets push URLs so many times a second, whoever signs for it', async () => {
  const at = await serve({ asksPerSecond: 1 });
  for (let count = 0; count < 4; count += 1) expect((await poll(at)).status).toBe(200);
  expectRefusal(await poll(at), 429, 'mailbox_token_too_fast');
  const body = JSON.stringify({ token: await at.recipient.token() });
  expectRefusal(await at.ask('POST', '/v1/push-urls', { body }), 429, 'mailbox_token_too_fast');
  const { closed } = await hello(at);
  expect(await closed).toBe(1013);
  expect((await poll(at, createRecipient(at.ring))).status).toBe(200);
});

test('recipients that connect or poll while the relay has too much to do are sent elsewhere, by name', async () => {
  let isBusy = true;
  const at = await serve({ isBusy: () => isBusy });
  expectRefusal(await poll(at), 503, 'overloaded');
  const refused = await at.ask('GET', '/v1/ws', {
    headers: {
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': Buffer.alloc(16).toString('base64'),
      'Sec-WebSocket-Protocol': SUBPROTOCOL,
    },
  });
  expect(refused).toMatchObject({ status: 503, headers: { 'retry-after': '2' } });
  expect(at.events.happened.filter((event) => event === 'refused overloaded')).toHaveLength(2);
  isBusy = false;
  expect((await poll(at)).status).toBe(200);
});

test('acks of made-up ids come to an end, and say so', async () => {
  const at = await serve();
  const ack = async (count: number): Promise<Reply> => {
    const { ids, signature } = signedAck(at.recipient, count);
    const headers = { Authorization: `Bearer ${await at.recipient.token()}` };
    const body = {
      ids: ids.map((id) => id.toString('base64url')),
      signature: signature.toString('base64url'),
    };
    return at.ask('POST', '/v1/acks', { headers, body: JSON.stringify(body) });
  };
  for (const _ of [1, 2]) expect((await ack(512)).status).toBe(204);
  expectRefusal(await ack(512), 429, 'acks_too_fast');
  const { socket, closed } = await hello(at);
  await new Promise<void>((resolve) => {
    socket.on('message', (data: Buffer) => data.toString('utf8') === '{"t":"ready"}' && resolve());
  });
  const { ids, signature } = signedAck(at.recipient, 512);
  socket.send(Buffer.concat([Buffer.of(2, 0, 0, 2, 0), signature, ...ids]));
  expect(await closed).toBe(1013);
  await eventually('its name', () => at.events.happened.includes('sessionClosed overloaded') || undefined);
  expect(at.events.happened.filter((event) => event === 'refused acks_too_fast')).toHaveLength(2);
  expect(at.events.happened.filter((event) => event.startsWith('acked '))).toEqual([
    'acked 512',
    'acked 512',
  ]);
});

test('a message for a mailbox that nobody has read yet waits for a short time, and its sender is told', async () => {
  const at = await serve({ unreadTtlSecondsMax: 600 });
  const headers = { ...HEADERS, TTL: '86400' };
  const reply = await at.ask('POST', at.recipient.path, { headers, body: ciphertext('m') });
  expect(reply).toMatchObject({ status: 201, headers: { ttl: '600' } });
  const [message] = await at.store.pending(at.recipient.tag, 1, 0);
  expect((message?.expiresMs ?? 0) - (message?.acceptedMs ?? 0)).toBe(600_000);
});
