/** Requests as the world makes them, over real HTTPS connections through the front door. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { afterEach, describe, expect, test } from 'vitest';
import { ciphertext } from '../../test/support/ciphertext.ts';
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
import { openPush } from '../core/capability.ts';
import { openMessageAddress } from '../core/message-address.ts';

const BODY = ciphertext('a message');
const HEADERS = { TTL: '60', 'Content-Encoding': 'aes128gcm' };
const LISTED = 'application/pgp-encrypted';
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
  expect(reply.headers['retry-after'] === undefined).toBe(status !== 503 && status !== 429);
}

async function stored(from: ServedRelay): Promise<readonly Buffer[]> {
  const messages = await from.store.pending(from.recipient.tag, 100, 0);
  return messages.map(({ body }) => Buffer.from(body));
}

describe('a message', () => {
  test('is accepted with its address and its time to live', async () => {
    const at = await serve();
    const reply = await at.ask('POST', at.recipient.path, { headers: HEADERS, body: BODY });
    expect(reply).toMatchObject({ status: 201, headers: { ttl: '60' }, body: '' });
    const address = /^https:\/\/relay\.test\/m\/([A-Za-z0-9_-]+)$/.exec(String(reply.headers['location']));
    expect(openMessageAddress(address?.[1] ?? '', at.ring)).toMatchObject({
      ok: true,
      value: { mailbox: at.recipient.tag },
    });
    expect(await stored(at)).toEqual([BODY]);
  });

  test('may be addressed by a whole URL, with a query, or with escaped letters', async () => {
    const at = await serve();
    const escaped = at.recipient.path.replace(
      /[A-Za-z]$/,
      (letter) => `%${letter.charCodeAt(0).toString(16)}`,
    );
    const paths = [`https://relay.test${at.recipient.path}`, `${at.recipient.path}?x=/y`, escaped];
    const headers = { ...HEADERS, Host: 'relay.test' };
    for (const path of paths) expect((await at.ask('POST', path, { headers, body: BODY })).status).toBe(201);
    const elsewhere = `https://other.test${at.recipient.path}`;
    expectRefusal(await at.ask('POST', elsewhere, { headers, body: BODY }), 400, 'host_ambiguous');
    expect(await stored(at)).toEqual([BODY]);
    for (const path of ['/p/', '/p', `${at.recipient.path}/x`]) {
      expectRefusal(await at.ask('POST', path, { headers: HEADERS, body: BODY }), 404, 'not_found');
    }
    const wrong = await at.ask('POST', `${at.recipient.path}%`, { headers: HEADERS, body: BODY });
    expectRefusal(wrong, 404, 'capability_unknown');
  });

  test('may come in chunks, without a length', async () => {
    const at = await serve();
    const reply = await at.ask('POST', at.recipient.path, {
      headers: HEADERS,
      body: [BODY.subarray(0, 20), BODY.subarray(20)],
    });
    expect(reply.status).toBe(201);
    expect(await stored(at)).toEqual([BODY]);
  });

  test.each([38, 4096, BODY_BYTES_MAX])('of %i bytes is accepted whole', async (length) => {
    const at = await serve();
    const body = ciphertext('x', length);
    expect((await at.ask('POST', at.recipient.path, { headers: HEADERS, body })).status).toBe(201);
    expect(await stored(at)).toEqual([body]);
  });

  test('sent twice is one message with one address', async () => {
    const at = await serve();
    const send = (): Promise<Reply> => at.ask('POST', at.recipient.path, { headers: HEADERS, body: BODY });
    const [one, other] = [await send(), await send()];
    expect([one.status, other.status]).toEqual([201, 201]);
    expect(one.headers['location']).toBe(other.headers['location']);
    expect(await stored(at)).toHaveLength(1);
  });

  test('of nothing needs no encryption, and each is a message of its own', async () => {
    const at = await serve();
    for (const headers of [{ TTL: '60' }, { TTL: '60', 'Content-Type': 'text/plain' }]) {
      expect((await at.ask('POST', at.recipient.path, { headers, body: '' })).status).toBe(201);
    }
    expect(await stored(at)).toEqual([Buffer.alloc(0), Buffer.alloc(0)]);
  });

  test('of nothing with an idempotency key is one message however often it comes', async () => {
    const at = await serve();
    const headers = { TTL: '60', 'Idempotency-Key': 'wake-up-1' };
    for (const _ of [1, 2]) await at.ask('POST', at.recipient.path, { headers, body: '' });
    expect(await stored(at)).toHaveLength(1);
  });

  test('with the key of an earlier one is not stored, and its sender is told so', async () => {
    const at = await serve();
    const headers = { ...HEADERS, 'Idempotency-Key': 'invoice-7' };
    const send = (body: Buffer): Promise<Reply> => at.ask('POST', at.recipient.path, { headers, body });
    const [first, again, other] = [await send(BODY), await send(BODY), await send(ciphertext('another'))];
    expect([first.status, again.status, other.status]).toEqual([201, 201, 201]);
    expect(again.headers['idempotency-conflict']).toBeUndefined();
    expect(other.headers['idempotency-conflict']).toBe('first-kept');
    expect(other.headers['location']).toBe(first.headers['location']);
    expect(at.events.happened).toContain('discarded idempotency_conflict 1');
    expect(await stored(at)).toEqual([BODY]);
  });

  test('that may wait longer than the relay keeps anything is told how long it may', async () => {
    const at = await serve();
    const reply = await at.ask('POST', at.recipient.path, {
      headers: { ...HEADERS, TTL: '99999999' },
      body: BODY,
    });
    expect(reply).toMatchObject({ status: 201, headers: { ttl: '2592000' } });
  });

  test('with no time to live and nobody connected is accepted, stored nowhere and counted', async () => {
    const at = await serve();
    const reply = await at.ask('POST', at.recipient.path, { headers: { ...HEADERS, TTL: '0' }, body: BODY });
    expect(reply).toMatchObject({ status: 201, headers: { ttl: '0' } });
    expect(await stored(at)).toEqual([]);
    expect(at.events.happened).toContain('discarded ttl_zero_not_connected 1');
  });

  test('may be sent with Expect: 100-continue, as curl does', async () => {
    const at = await serve();
    const reply = await at.ask('POST', at.recipient.path, {
      headers: { ...HEADERS, Expect: '100-continue' },
      body: BODY,
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
      expectRefusal(await at.ask('POST', path, { headers: HEADERS, body: BODY }), 404, 'capability_unknown');
    }
  });

  test('through a push URL of a key that has not arrived here', async () => {
    const at = await serve();
    const ring = createTestRing();
    const elsewhere = createRecipient({ ...ring, minting: { ...ring.minting, id: 'BBBBBA' } });
    const reply = await at.ask('POST', elsewhere.path, { headers: HEADERS, body: BODY });
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
    ['that is no MLS', { TTL: '60', 'Content-Type': 'message/mls' }, 415, 'not_encrypted'],
    ['of a type without a key', { TTL: '60', 'Content-Type': LISTED }, 400, 'idempotency_key_missing'],
  ])('%s', async (_, headers, status, code) => {
    const at = await serve();
    expectRefusal(await at.ask('POST', at.recipient.path, { headers, body: BODY }), status, code);
    expect(at.events.happened).toEqual([`refused ${code}`]);
  });

  test.each([
    ['a sentence', 'Dear all, this was meant to be encrypted, and it is not. It is even rather long.'],
    ['nothing', ''],
    ['a header without a record', ciphertext('x').subarray(0, 21)],
  ])('whose coding says encrypted, and which is %s', async (_, body) => {
    const at = await serve();
    const reply = await at.ask('POST', at.recipient.path, { headers: HEADERS, body });
    expectRefusal(reply, 415, 'not_encrypted');
    expect(await stored(at)).toEqual([]);
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

  test('that comes faster than its push URL may, which is not final', async () => {
    const at = await serve({ messagesPerSecond: 1 });
    const send = (): Promise<Reply> => at.ask('POST', at.recipient.path, { headers: HEADERS, body: BODY });
    const refused = await eventually('a refusal', async () => {
      const reply = await send();
      return reply.status === 201 ? undefined : reply;
    });
    expectRefusal(refused, 429, 'capability_too_fast');
    expect(refused.headers['retry-after']).toBe('2');
    await eventually('room again', async () => ((await send()).status === 201 ? true : undefined));
  });

  test('to a mailbox that nobody has read for too long, which is not final', async () => {
    const at = await serve();
    let reply: Reply | undefined;
    for (let count = 0; reply === undefined || reply.status === 201; count += 1) {
      expect(count).toBeLessThanOrEqual(30);
      reply = await at.ask('POST', at.recipient.path, { headers: HEADERS, body: ciphertext(`${count}`) });
    }
    expectRefusal(reply, 429, 'mailbox_full');
    expect(reply.headers['retry-after']).toBe('60');
  });

  test('that has one copy where two are needed', async () => {
    const at = await serve({ copiesNeeded: 2 });
    const reply = await at.ask('POST', at.recipient.path, { headers: HEADERS, body: BODY });
    expectRefusal(reply, 503, 'copies_unreachable');
  });

  test('when the store is away', async () => {
    const at = await serve();
    await at.store.close();
    const reply = await at.ask('POST', at.recipient.path, { headers: HEADERS, body: BODY });
    expectRefusal(reply, 503, 'copies_unreachable');
  });

  test('while the relay drains', async () => {
    const at = await serve();
    at.draining = true;
    const reply = await at.ask('POST', at.recipient.path, { headers: HEADERS, body: BODY });
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
    const first = at.ask('POST', at.recipient.path, { headers: HEADERS, body: BODY });
    const refused = await eventually('a refusal', async () => {
      const reply = await at.ask('POST', at.recipient.path, { headers: HEADERS, body: BODY });
      return reply.status === 503 ? reply : undefined;
    });
    expectRefusal(refused, 503, 'overloaded');
    await using other = await serveRelay({ requestsMax: 1 });
    const elsewhere = await other.ask('POST', other.recipient.path, { headers: HEADERS, body: BODY });
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
    await eventually('the request', () => (at.http.listenerCount('request') > 0 ? true : undefined));
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
        `Content-Length: ${BODY.length}\r\n\r\n`,
    );
    socket.write(Buffer.concat([BODY, Buffer.from(' and more')]));
    await once(socket, 'close');
    expect(answered.match(/HTTP\/1\.1 \d{3}/g)).toEqual(['HTTP/1.1 201', 'HTTP/1.1 400']);
    expect(await stored(at)).toEqual([BODY]);
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
    const sent = await at.ask('POST', new URL(push).pathname, { headers: HEADERS, body: BODY });
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

  test('readiness is as long as a prober wants it, within bounds', async () => {
    const at = await serve();
    const lengths = ['=4096', '=9999', '=', '=-1', '=10000', '=1e3'].map(
      async (query) => (await at.ask('GET', `/readyz?bytes${query}`)).body.length,
    );
    expect(await Promise.all(lengths)).toStrictEqual([4096, 8192, 0, 0, 0, 0]);
  });

  test.each([
    ['GET', '/'],
    ['GET', '/metrics'],
    ['GET', '/livez'],
    ['GET', '/v1/ws/x'],
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
      body: BODY,
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
    const reply = await at.ask('POST', at.recipient.path, { headers: HEADERS, body: BODY });
    expect(reply.status).toBe(503);
  });
});
