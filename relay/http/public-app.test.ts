/** Requests as the world makes them, over real HTTPS connections through the front door. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { afterEach, describe, expect, test } from 'vitest';
import { eventually } from '../../test/support/eventually.ts';
import {
  AUDIENCE,
  BODY_BYTES_MAX,
  createRecipient,
  createTestRing,
  type Reply,
  type ServedRelay,
  type ServedRelayOptions,
  serveRelay,
} from '../../test/support/served-relay.ts';
import { openMessageAddress, openPush } from '../core/capability.ts';

const HEADERS = { TTL: '60', 'Content-Encoding': 'aes128gcm' };
let relay: ServedRelay | undefined;

async function serve(options: ServedRelayOptions = {}): Promise<ServedRelay> {
  relay = await serveRelay(options);
  return relay;
}

afterEach(async () => {
  await relay?.[Symbol.asyncDispose]();
  relay = undefined;
});

function expectRefusal(reply: Reply, status: number, code: string): void {
  expect(reply.headers['content-type']).toBe('application/problem+json');
  expect(JSON.parse(reply.body)).toMatchObject({ type: 'about:blank', status, code });
  expect(reply.status).toBe(status);
  expect(reply.headers['retry-after'] === undefined).toBe(status !== 503);
}

async function stored(from: ServedRelay): Promise<readonly Buffer[]> {
  const messages = await from.store.pending(from.recipient.tag, 100, 0);
  return messages.map(({ body }) => Buffer.from(body));
}

describe('a message', () => {
  test('is accepted with its address and its time to live', async () => {
    const at = await serve();
    const reply = await at.ask('POST', at.recipient.path, { headers: HEADERS, body: 'ciphertext' });
    expect(reply).toMatchObject({ status: 201, headers: { ttl: '60' }, body: '' });
    const address = /^https:\/\/relay\.test\/m\/([A-Za-z0-9_-]+)$/.exec(String(reply.headers['location']));
    expect(openMessageAddress(address?.[1] ?? '', at.ring)).toMatchObject({
      ok: true,
      value: { mailbox: at.recipient.tag },
    });
    expect(await stored(at)).toEqual([Buffer.from('ciphertext')]);
  });

  test('may come in chunks, without a length', async () => {
    const at = await serve();
    const reply = await at.ask('POST', at.recipient.path, { headers: HEADERS, body: ['cipher', 'text'] });
    expect(reply.status).toBe(201);
    expect(await stored(at)).toEqual([Buffer.from('ciphertext')]);
  });

  test.each([0, 4096, BODY_BYTES_MAX])('of %i bytes is accepted whole', async (length) => {
    const at = await serve();
    const body = Buffer.alloc(length, 7);
    expect((await at.ask('POST', at.recipient.path, { headers: HEADERS, body })).status).toBe(201);
    expect(await stored(at)).toEqual([body]);
  });

  test('sent twice is one message with one address', async () => {
    const at = await serve();
    const send = (): Promise<Reply> =>
      at.ask('POST', at.recipient.path, { headers: HEADERS, body: 'ciphertext' });
    const [one, other] = [await send(), await send()];
    expect([one.status, other.status]).toEqual([201, 201]);
    expect(one.headers['location']).toBe(other.headers['location']);
    expect(await stored(at)).toHaveLength(1);
  });

  test('that may wait longer than the relay keeps anything is told how long it may', async () => {
    const at = await serve();
    const reply = await at.ask('POST', at.recipient.path, {
      headers: { ...HEADERS, TTL: '99999999' },
      body: 'x',
    });
    expect(reply).toMatchObject({ status: 201, headers: { ttl: '2592000' } });
  });

  test('with no time to live and nobody connected is accepted, stored nowhere and counted', async () => {
    const at = await serve();
    const reply = await at.ask('POST', at.recipient.path, { headers: { ...HEADERS, TTL: '0' }, body: 'x' });
    expect(reply).toMatchObject({ status: 201, headers: { ttl: '0' } });
    expect(await stored(at)).toEqual([]);
    expect(at.events.happened).toContain('discarded ttl_zero_not_connected 1');
  });

  test('may be sent with Expect: 100-continue, as curl does', async () => {
    const at = await serve();
    const reply = await at.ask('POST', at.recipient.path, {
      headers: { ...HEADERS, Expect: '100-continue' },
      body: 'ciphertext',
    });
    expect(reply.status).toBe(201);
  });
});

describe('refused is a message', () => {
  test('through a push URL that nobody made', async () => {
    const at = await serve();
    const known = at.recipient.path;
    const damaged = known.slice(0, -1) + (known.endsWith('A') ? 'B' : 'A');
    for (const path of ['/p/x', '/p/%00', `/p/${'A'.repeat(500)}`, damaged, `${known}A`]) {
      expectRefusal(await at.ask('POST', path, { headers: HEADERS, body: 'x' }), 404, 'capability_unknown');
    }
  });

  test('through a push URL of a key that has not arrived here', async () => {
    const at = await serve();
    const ring = createTestRing();
    const elsewhere = createRecipient({ ...ring, minting: { ...ring.minting, id: 'BBBBBA' } });
    const reply = await at.ask('POST', elsewhere.path, { headers: HEADERS, body: 'x' });
    expectRefusal(reply, 503, 'capability_key_unknown');
  });

  test.each([
    ['without TTL', { 'Content-Encoding': 'aes128gcm' }, 400, 'ttl_missing'],
    ['with a TTL that is no number', { ...HEADERS, TTL: 'soon' }, 400, 'ttl_malformed'],
    ['with two TTLs', { ...HEADERS, TTL: ['60', '60'] }, 400, 'header_repeated'],
    ['with two urgencies', { ...HEADERS, Urgency: ['low', 'high'] }, 400, 'header_repeated'],
    ['with an urgency of its own', { ...HEADERS, Urgency: 'panic' }, 400, 'urgency_unknown'],
    ['with a long topic', { ...HEADERS, Topic: 'x'.repeat(33) }, 400, 'topic_malformed'],
    ['with a long key', { ...HEADERS, 'Idempotency-Key': 'x'.repeat(65) }, 400, 'idempotency_key_malformed'],
    ['in clear', { TTL: '60', 'Content-Type': 'text/plain' }, 415, 'not_encrypted'],
  ])('%s', async (_, headers, status, code) => {
    const at = await serve();
    expectRefusal(await at.ask('POST', at.recipient.path, { headers, body: 'x' }), status, code);
    expect(at.events.happened).toEqual([`refused ${code}`]);
  });

  test.each([
    ['with a length', Buffer.alloc(BODY_BYTES_MAX + 1)],
    ['in chunks', [Buffer.alloc(BODY_BYTES_MAX), Buffer.alloc(1)]],
    ['by far, in chunks', Array.from({ length: 64 }, () => Buffer.alloc(16_384))],
    ['by far, with a length', Buffer.alloc(1024 * 1024)],
  ])('that is too large, %s', async (_, body) => {
    const at = await serve();
    const reply = await at.ask('POST', at.recipient.path, { headers: HEADERS, body });
    expectRefusal(reply, 413, 'body_too_large');
    expect(await stored(at)).toEqual([]);
  });

  test('that has one copy where two are needed', async () => {
    const at = await serve({ copiesNeeded: 2 });
    const reply = await at.ask('POST', at.recipient.path, { headers: HEADERS, body: 'x' });
    expectRefusal(reply, 503, 'copies_unreachable');
  });

  test('when the store is away', async () => {
    const at = await serve();
    await at.store.close();
    const reply = await at.ask('POST', at.recipient.path, { headers: HEADERS, body: 'x' });
    expectRefusal(reply, 503, 'copies_unreachable');
  });

  test('while the relay drains', async () => {
    const at = await serve();
    at.draining = true;
    const reply = await at.ask('POST', at.recipient.path, { headers: HEADERS, body: 'x' });
    expectRefusal(reply, 503, 'draining');
  });

  test('over the number of requests under way, by this relay and by no other in the process', async () => {
    const gate = Promise.withResolvers<void>();
    const at = await serve({
      requestsMax: 1,
      wrapStore: (store) => ({
        ...store,
        insert: async (insertions, nowMs) => {
          await gate.promise;
          return store.insert(insertions, nowMs);
        },
      }),
    });
    const first = at.ask('POST', at.recipient.path, { headers: HEADERS, body: 'first' });
    const refused = await eventually('a refusal', async () => {
      const reply = await at.ask('POST', at.recipient.path, { headers: HEADERS, body: '' });
      return reply.status === 503 ? reply : undefined;
    });
    expectRefusal(refused, 503, 'overloaded');
    await using other = await serveRelay({ requestsMax: 1 });
    const elsewhere = await other.ask('POST', other.recipient.path, { headers: HEADERS, body: 'x' });
    gate.resolve();
    expect((await first).status).toBe(201);
    expect(elsewhere.status).toBe(201);
  });
});

describe('a sender that breaks off', () => {
  test('before its body is complete has sent nothing', async () => {
    const at = await serve();
    const socket = await at.connect();
    socket.write(
      `POST ${at.recipient.path} HTTP/1.1\r\nHost: x\r\nTTL: 60\r\nContent-Encoding: aes128gcm\r\n` +
        'Content-Length: 100\r\n\r\nonly this',
    );
    await eventually('the request', () => (at.clients.listenerCount('request') > 0 ? true : undefined));
    socket.end();
    await eventually('a name for it', () =>
      at.events.happened.includes('refused body_incomplete') ? true : undefined,
    );
    expect(await stored(at)).toEqual([]);
    socket.destroy();
  });

  test('and whose length is shorter than its body has sent what the length says, and no request more', async () => {
    const at = await serve();
    const socket = await at.connect();
    let answered = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      answered += chunk;
    });
    socket.write(
      `POST ${at.recipient.path} HTTP/1.1\r\nHost: x\r\nTTL: 60\r\nContent-Encoding: aes128gcm\r\n` +
        'Content-Length: 4\r\n\r\nthis and more',
    );
    await once(socket, 'close');
    expect(answered).toMatch(/^HTTP\/1\.1 (201|400) /);
    expect((await stored(at)).map(String)).toEqual(['this']);
  });
});

describe('a push URL', () => {
  test('is made for whoever proves a mailbox, and leads to it', async () => {
    const at = await serve();
    const body = JSON.stringify({ token: await at.recipient.token() });
    const reply = await at.ask('POST', '/v1/push-urls', { body });
    expect(reply).toMatchObject({ status: 201, headers: { 'cache-control': 'no-store' } });
    const { push } = JSON.parse(reply.body) as { push: string };
    expect(reply.headers['location']).toBe(push);
    const opened = openPush(push.replace('https://relay.test/p/', ''), at.ring, 0);
    expect(opened).toMatchObject({ ok: true, value: { mailbox: at.recipient.id } });
    const sent = await at.ask('POST', new URL(push).pathname, { headers: HEADERS, body: 'x' });
    expect(sent.status).toBe(201);
  });

  test.each([
    ['for another site', { audience: 'https://gcp.relay.test' }],
    ['that lives too long', { seconds: 600 }],
    ['that has expired', { seconds: -60 }],
  ])('is not made for a token %s', async (_, claims) => {
    const at = await serve();
    const body = JSON.stringify({ token: await at.recipient.token(claims) });
    expectRefusal(await at.ask('POST', '/v1/push-urls', { body }), 401, 'mailbox_token_invalid');
  });

  test('is not made for anything else', async () => {
    const at = await serve();
    for (const body of ['', '{', 'null', '[]', '{"token":1}']) {
      expectRefusal(await at.ask('POST', '/v1/push-urls', { body }), 400, 'request_malformed');
    }
    const stranger = await at.ask('POST', '/v1/push-urls', { body: '{"token":"a.b.c"}' });
    expectRefusal(stranger, 401, 'mailbox_token_invalid');
    const large = await at.ask('POST', '/v1/push-urls', { body: Buffer.alloc(4097) });
    expectRefusal(large, 413, 'body_too_large');
  });

  test("needs an operator's token where minting is not open", async () => {
    const operatorTokenHashes = ['first', 'secret'].map((token) =>
      createHash('sha256').update(token).digest(),
    );
    const at = await serve({ operatorTokenHashes });
    const body = JSON.stringify({ token: await at.recipient.token() });
    const mint = async (headers: Readonly<Record<string, string>>): Promise<Reply> =>
      at.ask('POST', '/v1/push-urls', { headers, body });
    for (const authorization of ['', 'Bearer wrong', 'secret']) {
      expectRefusal(await mint({ Authorization: authorization }), 401, 'operator_token_invalid');
    }
    expect((await mint({ Authorization: 'Bearer secret' })).status).toBe(201);
  });
});

describe('besides', () => {
  test('facts are told to everybody', async () => {
    const at = await serve();
    const reply = await at.ask('GET', '/v1/info');
    expect(reply.status).toBe(200);
    expect(JSON.parse(reply.body)).toMatchObject({
      protocol: 'relay.v1',
      site: 'aws',
      audience: AUDIENCE,
      sites: [{ name: 'aws', provider: 'aws', origin: AUDIENCE }],
      bodyBytesMax: BODY_BYTES_MAX,
      ttlSecondsMax: 2_592_000,
      minting: 'open',
    });
  });

  test('readiness is a status and nothing more', async () => {
    const at = await serve();
    expect(await at.ask('GET', '/readyz')).toMatchObject({ status: 200, body: '' });
    at.ready = false;
    expect(await at.ask('GET', '/readyz')).toMatchObject({ status: 503, body: '' });
  });

  test.each([
    ['GET', '/'],
    ['GET', '/p/x'],
    ['GET', '/metrics'],
    ['GET', '/livez'],
    ['GET', '/v1/ws'],
    ['DELETE', '/v1/info'],
    ['POST', '/p/'],
  ])('there is nothing at %s %s', async (method, path) => {
    const at = await serve();
    expectRefusal(await at.ask(method, path), 404, 'not_found');
  });

  test('a browser may send from any page', async () => {
    const at = await serve();
    const preflight = await at.ask('OPTIONS', at.recipient.path, {
      headers: {
        Origin: 'https://app.example',
        'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': 'ttl,content-encoding,urgency,topic',
      },
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers['access-control-allow-origin']).toBe('*');
    expect(preflight.headers['access-control-allow-methods']).toContain('POST');
    expect(preflight.headers['access-control-allow-headers']).toContain('ttl');
    const reply = await at.ask('POST', at.recipient.path, {
      headers: { ...HEADERS, Origin: 'https://app.example' },
      body: 'x',
    });
    expect(reply.headers['access-control-allow-origin']).toBe('*');
    expect(reply.headers['access-control-expose-headers']).toContain('Location');
    expect(reply.headers['access-control-allow-credentials']).toBeUndefined();
  });

  test('what nobody foresaw is an answer and not a dead connection', async () => {
    const at = await serve({
      wrapStore: (store) => ({
        ...store,
        insert: () => {
          throw new TypeError('a bug');
        },
      }),
    });
    const reply = await at.ask('POST', at.recipient.path, { headers: HEADERS, body: 'x' });
    expect(reply.status).toBe(503);
  });
});
