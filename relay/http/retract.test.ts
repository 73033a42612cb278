/** Senders that take a message back, over real HTTPS. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ciphertext } from '../../test/support/ciphertext.ts';
import { createTestMailbox, TEST_CAPABILITY_ID } from '../../test/support/mailbox.ts';
import { type Reply, type ServedRelay, serveRelay } from '../../test/support/served-relay.ts';
import { sealMessageAddress } from '../core/message-address.ts';
import { openingOf } from '../core/retraction.ts';

const BODY = ciphertext('a message');
let relay: ServedRelay;

beforeEach(async () => {
  relay = await serveRelay();
});

afterEach(() => relay[Symbol.asyncDispose]());

function send(body: Buffer): Promise<Reply> {
  const headers = { TTL: '60', 'Content-Encoding': 'aes128gcm' };
  return relay.ask('POST', relay.recipient.path, { headers, body });
}

function pathOf(reply: Reply): string {
  return new URL(String(reply.headers['location'])).pathname;
}

async function pending(): Promise<number> {
  return (await relay.store.pending(relay.recipient.tag, 10, 0)).length;
}

test('a message is gone, and asking again says the same', async () => {
  const path = pathOf(await send(BODY));
  await send(ciphertext('another'));
  for (const _ of [1, 2]) expect(await relay.ask('DELETE', path)).toMatchObject({ status: 204, body: '' });
  expect(await pending()).toBe(1);
});

test('what was taken back does not come back', async () => {
  await relay.ask('DELETE', pathOf(await send(BODY)));
  expect((await send(BODY)).status).toBe(201);
  expect(await pending()).toBe(0);
});

test('a message that has not arrived here yet is not taken any more', async () => {
  const mailbox = createTestMailbox();
  const acceptedMs = Date.now();
  const message = mailbox.message('m', { acceptedMs, expiresMs: acceptedMs + 60_000 });
  const opening = openingOf(TEST_CAPABILITY_ID, message.id);
  const address = sealMessageAddress({ mailbox: mailbox.tag, id: message.id, opening }, relay.ring);
  expect((await relay.ask('DELETE', `/m/${address}`)).status).toBe(204);
  expect(await relay.store.insert([{ message, owedTo: [] }], acceptedMs)).toEqual(['buried']);
});

test('an address that nobody made, or of a push URL, deletes nothing', async () => {
  const path = pathOf(await send(BODY));
  const others = ['/m/x', `${path}A`, relay.recipient.path.replace('/p/', '/m/')];
  for (const other of others) {
    const reply = await relay.ask('DELETE', other);
    expect(JSON.parse(reply.body)).toMatchObject({ status: 404, code: 'message_address_unknown' });
  }
  expect(await pending()).toBe(1);
});

test('an address of a key that has not arrived here is no wrong one', async () => {
  const minting = { id: 'BBBBBA', key: Buffer.alloc(32, 1) };
  const ring = { ...relay.ring, keys: new Map([[minting.id, minting]]), minting };
  const { id } = createTestMailbox().message('m');
  const opening = openingOf(TEST_CAPABILITY_ID, id);
  const address = sealMessageAddress({ mailbox: relay.recipient.tag, id, opening }, ring);
  const reply = await relay.ask('DELETE', `/m/${address}`);
  expect(JSON.parse(reply.body)).toMatchObject({ status: 503, code: 'capability_key_unknown' });
  expect(reply.headers['retry-after']).toBe('5');
});

test('who takes one message back again and again is too fast, like one who sends', async () => {
  await using slow = await serveRelay({ messagesPerSecond: 1 });
  const headers = { TTL: '60', 'Content-Encoding': 'aes128gcm' };
  const path = pathOf(await slow.ask('POST', slow.recipient.path, { headers, body: BODY }));
  const replies = await Promise.all(Array.from({ length: 40 }, () => slow.ask('DELETE', path)));
  const [tooFast] = replies.filter(({ status }) => status !== 204);
  expect(JSON.parse(tooFast?.body ?? '{}')).toMatchObject({ status: 429, code: 'mailbox_too_fast' });
  expect(replies.filter(({ status }) => status === 204).length).toBeGreaterThanOrEqual(3);
});

test('when the store is away nobody is told that it is done', async () => {
  const path = pathOf(await send(BODY));
  await relay.store.close();
  expect(JSON.parse((await relay.ask('DELETE', path)).body)).toMatchObject({ code: 'store_unavailable' });
});
