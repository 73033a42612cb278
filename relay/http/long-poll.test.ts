/** Receiving without a WebSocket, over the real server. */
import { sign } from 'node:crypto';
import { afterEach, expect, test } from 'vitest';
import { ciphertext } from '../../test/support/ciphertext.ts';
import { eventually } from '../../test/support/eventually.ts';
import {
  messageFor,
  type Reply,
  type ServedRelay,
  type ServedRelayOptions,
  serveRelay,
} from '../../test/support/served-relay.ts';
import type { SignedAck } from '../core/ack.ts';
import type { PolledMessage } from './long-poll.ts';

let relay: ServedRelay | undefined;

afterEach(async () => {
  await relay?.[Symbol.asyncDispose]();
  relay = undefined;
});

async function serve(options: ServedRelayOptions = {}): Promise<ServedRelay> {
  relay = await serveRelay(options);
  return relay;
}

async function push(at: ServedRelay, text: string): Promise<void> {
  const headers = { TTL: '60', 'Content-Encoding': 'aes128gcm' };
  const { status } = await at.ask('POST', at.recipient.path, { headers, body: ciphertext(text) });
  expect(status).toBe(201);
}

async function poll(at: ServedRelay, query = ''): Promise<Reply> {
  const headers = { Authorization: `Bearer ${await at.recipient.token()}` };
  return at.ask('GET', `/v1/messages${query}`, { headers });
}

function messagesIn({ status, body }: Reply): readonly PolledMessage[] {
  expect(status).toBe(200);
  return (JSON.parse(body) as { messages: readonly PolledMessage[] }).messages;
}

async function ack(at: ServedRelay, ids: readonly string[], signed = ids): Promise<Reply> {
  const idBytes = Buffer.concat(signed.map((id) => Buffer.from(id, 'base64url')));
  const line = Buffer.concat([Buffer.from('archipelago ack v1\n'), idBytes]);
  const signature = sign(null, line, at.recipient.privateKey).toString('base64url');
  const headers = { Authorization: `Bearer ${await at.recipient.token()}` };
  return at.ask('POST', '/v1/acks', { headers, body: JSON.stringify({ ids, signature }) });
}

test('what waits comes at once, again and again until it is acked', async () => {
  const at = await serve();
  await push(at, 'one');
  await push(at, 'two');
  const found = messagesIn(await poll(at));
  expect(found.map(({ coding }) => coding)).toEqual(['aes128gcm', 'aes128gcm']);
  expect(found.map(({ body }) => body)).toEqual(
    [ciphertext('one'), ciphertext('two')].map((body) => body.toString('base64url')),
  );
  expect(messagesIn(await poll(at)).map(({ id }) => id)).toEqual(found.map(({ id }) => id));
  const [first, second] = found.map(({ id }) => id);
  expect((await ack(at, [first ?? ''])).status).toBe(204);
  expect(messagesIn(await poll(at)).map(({ id }) => id)).toEqual([second]);
  expect(at.events.happened).toContain('acked 1');
});

test('what another site has an ack of is left out, and nobody is asked of what comes while one waits', async () => {
  const acks: SignedAck[] = [];
  let asked = 0;
  const at = await serve({
    buriedElsewhere: async (messages) => {
      asked += messages.length;
      return acks;
    },
  });
  await push(at, 'one');
  await push(at, 'two');
  const ids = messagesIn(await poll(at)).map(({ id }) => id);
  expect(asked).toBe(2);
  acks.push({ ids: [ids[0]] } as unknown as SignedAck);
  expect(messagesIn(await poll(at)).map(({ id }) => id)).toEqual([ids[1]]);
  acks.push({ ids: [ids[1]] } as unknown as SignedAck);
  expect(messagesIn(await poll(at, '?wait=0'))).toEqual([]);
  expect((await ack(at, ids)).status).toBe(204);
  asked = 0;
  const waiting = poll(at);
  await eventually('somebody who waits', () => (at.waiting() === 1 ? true : undefined));
  await push(at, 'three');
  expect(messagesIn(await waiting)).toHaveLength(1);
  expect(asked).toBe(0);
});

test('an answer is a megabyte of bodies at most, and the rest comes with the next', async () => {
  const at = await serve();
  const waiting = Array.from({ length: 20 }, (_, place) => messageFor(at, `${place}`, 65_536));
  await at.store.insert(
    waiting.map((message) => ({ message, owedTo: [] })),
    Date.now(),
  );
  const first = messagesIn(await poll(at)).map(({ id }) => id);
  expect(first).toHaveLength(16);
  expect((await ack(at, first)).status).toBe(204);
  const rest = messagesIn(await poll(at)).map(({ id }) => id);
  expect(new Set([...first, ...rest])).toEqual(new Set(waiting.map(({ id }) => id)));
});

test('one message that is larger than that comes alone', async () => {
  const at = await serve();
  const large = messageFor(at, 'large', 1024 * 1024 + 1);
  await at.store.insert(
    [large, messageFor(at, 'other')].map((message) => ({ message, owedTo: [] })),
    Date.now(),
  );
  const ids = messagesIn(await poll(at)).map(({ id }) => id);
  expect((await ack(at, ids)).status).toBe(204);
  const more = messagesIn(await poll(at)).map(({ id }) => id);
  expect([ids.length, more.length]).toEqual([1, 1]);
});

test('a message that comes while one waits ends the wait', async () => {
  const at = await serve();
  const waiting = poll(at);
  await eventually('somebody who waits', () => (at.waiting() === 1 ? true : undefined));
  await push(at, 'one');
  expect(messagesIn(await waiting)).toHaveLength(1);
  expect(at.waiting()).toBe(0);
});

test('nothing after the wait is an empty list', async () => {
  const at = await serve();
  expect(messagesIn(await poll(at, '?wait=0'))).toEqual([]);
  expect(messagesIn(await poll(at, '?wait=1'))).toEqual([]);
});

test('a message on which recipients break comes after all others are acked', async () => {
  const at = await serve();
  await push(at, 'bad');
  await push(at, 'good');
  const [bad, good] = messagesIn(await poll(at)).map(({ id }) => id);
  for (let round = 0; round < 5; round += 1) await poll(at);
  expect(messagesIn(await poll(at)).map(({ id }) => id)).toEqual([good]);
  await ack(at, [good ?? '']);
  expect(messagesIn(await poll(at)).map(({ id }) => id)).toEqual([bad]);
  expect(at.events.happened.filter((event) => event.startsWith('heldBack'))).toHaveLength(1);
});

test('a relay that stops answers who waits and takes nobody any more', async () => {
  const at = await serve();
  const waiting = poll(at);
  await eventually('somebody who waits', () => (at.waiting() === 1 ? true : undefined));
  at.longPoll.stop();
  expect(messagesIn(await waiting)).toEqual([]);
  expect((await poll(at)).status).toBe(503);
});

test('a recipient that leaves is not waited for', async () => {
  const at = await serve();
  const socket = await at.connect();
  socket.write(
    `GET /v1/messages HTTP/1.1\r\nHost: relay.test\r\nAuthorization: Bearer ${await at.recipient.token()}\r\n\r\n`,
  );
  await eventually('somebody who waits', () => (at.waiting() === 1 ? true : undefined));
  socket.destroy();
  await eventually('nobody', () => (at.waiting() === 0 ? true : undefined));
});

test.each([
  ['without a token', '/v1/messages', {}, 401, 'mailbox_token_invalid'],
  ['with a token of nobody', '/v1/messages', { Authorization: 'Bearer a.b.c' }, 401, 'mailbox_token_invalid'],
  ['that waits too long', '/v1/messages?wait=26', {}, 400, 'request_malformed'],
  ['that waits for no number', '/v1/messages?wait=x', {}, 400, 'request_malformed'],
])('refused is a poll %s', async (_, path, headers, status, code) => {
  const at = await serve();
  const reply = await at.ask('GET', path, { headers });
  expect(reply.status).toBe(status);
  expect(JSON.parse(reply.body)).toMatchObject({ code });
});

test('a poll with two tokens is nobody’s, even if both are good', async () => {
  const at = await serve();
  const token = `Bearer ${await at.recipient.token()}`;
  const reply = await at.ask('GET', '/v1/messages?wait=0', { headers: { Authorization: [token, token] } });
  expect(JSON.parse(reply.body)).toMatchObject({ status: 401, code: 'mailbox_token_invalid' });
});

test('an ack that somebody else signed, or that is none, deletes nothing', async () => {
  const at = await serve();
  await push(at, 'one');
  const [{ id } = { id: '' }] = messagesIn(await poll(at));
  const wrong = await ack(at, [id], ['AAAAAAAAAAAAAAAAAAAAAA']);
  expect(JSON.parse(wrong.body)).toMatchObject({ status: 401, code: 'ack_signature_invalid' });
  const headers = { Authorization: `Bearer ${await at.recipient.token()}` };
  for (const body of ['', '{', '[]', '{"ids":[1],"signature":""}', '{"ids":[],"signature":"AAAA"}']) {
    const reply = await at.ask('POST', '/v1/acks', { headers, body });
    expect(JSON.parse(reply.body)).toMatchObject({ status: 400, code: 'request_malformed' });
  }
  expect(messagesIn(await poll(at))).toHaveLength(1);
});
