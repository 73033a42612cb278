/** Push URLs that were made for one sender, used by npm `web-push` as it is, over TLS. */
import { Agent } from 'node:https';
import { afterEach, beforeEach, expect, test } from 'vitest';
import webPush, { type RequestOptions, type SendResult } from 'web-push';
import { ciphertext } from '../../test/support/ciphertext.ts';
import { createRecipient, ORIGIN, type ServedRelay, serveRelay } from '../../test/support/served-relay.ts';

let relay: ServedRelay;
let agent: Agent;
const vapid = webPush.generateVAPIDKeys();
const vapidDetails = { subject: 'mailto:ops@sender.test', ...vapid };
const HEADERS = { TTL: '60', 'Content-Encoding': 'aes128gcm' };

beforeEach(async () => {
  relay = await serveRelay();
  agent = new Agent({ ca: relay.ca });
  // Only the address is ours: the name, the port in it and everything else are as in production.
  const { port } = relay;
  const connect = agent.createConnection.bind(agent);
  agent.createConnection = (options, callback) =>
    connect({ ...options, host: '127.0.0.1', port, servername: 'relay.test' }, callback);
});

afterEach(async () => {
  agent.destroy();
  await relay[Symbol.asyncDispose]();
});

/** Makes a push URL for the sender with the VAPID key; gives its address. */
async function mint(key: unknown): Promise<{ readonly status: number; readonly push: string }> {
  const body = JSON.stringify({ token: await relay.recipient.token(), vapid: key });
  const { status, body: text } = await relay.ask('POST', '/v1/push-urls', { body });
  return { status, push: String((JSON.parse(text) as { push?: string }).push) };
}

function send(endpoint: string, options: RequestOptions = {}): Promise<SendResult> {
  return webPush.sendNotification({ endpoint }, null, { agent, TTL: 60, timeout: 5000, ...options });
}

test('the sender it was made for may use it, and again with another token', async () => {
  const { push } = await mint(vapid.publicKey);
  expect(push.startsWith(`${ORIGIN}/p/`)).toBe(true);
  for (const _ of [1, 2]) expect(await send(push, { vapidDetails })).toMatchObject({ statusCode: 201 });
});

test('whoever does not say who it is hears how', async () => {
  const { push } = await mint(vapid.publicKey);
  await expect(send(push)).rejects.toMatchObject({
    statusCode: 401,
    headers: { 'www-authenticate': 'vapid' },
  });
  expect(relay.events.happened).toEqual(['refused vapid_missing']);
});

test('another sender is refused', async () => {
  const { push } = await mint(vapid.publicKey);
  const other = { subject: 'mailto:ops@other.test', ...webPush.generateVAPIDKeys() };
  await expect(send(push, { vapidDetails: other })).rejects.toMatchObject({ statusCode: 403 });
  expect(relay.events.happened).toEqual(['refused vapid_key_wrong']);
});

test('a push URL for anybody takes no notice of it', async () => {
  const { path } = createRecipient(relay.ring);
  expect(await send(`${ORIGIN}${path}`, { vapidDetails })).toMatchObject({ statusCode: 201 });
  const headers = { ...HEADERS, Authorization: 'Bearer secret' };
  expect((await relay.ask('POST', path, { headers, body: ciphertext('x') })).status).toBe(201);
});

test('two of them are refused, because two parts could choose differently', async () => {
  const { push } = await mint(vapid.publicKey);
  const headers = { ...HEADERS, Authorization: ['vapid t=a, k=b', 'vapid t=c, k=d'] };
  const reply = await relay.ask('POST', new URL(push).pathname, { headers, body: ciphertext('x') });
  expect(JSON.parse(reply.body)).toMatchObject({ status: 400, code: 'header_repeated' });
});

test.each(['', 'x', 7, null, vapid.privateKey])('it is not made for %j, which is no key', async (key) => {
  expect((await mint(key)).status).toBe(400);
});
