/** Recipients over real WebSockets: what they get, what they may do, and what happens when they misbehave. */
import { sign } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { afterEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { ciphertext } from '../../test/support/ciphertext.ts';
import { eventually } from '../../test/support/eventually.ts';
import {
  messageFor,
  type ServedRelay,
  type ServedRelayOptions,
  serveRelay,
} from '../../test/support/served-relay.ts';
import { ack, connect, hello, store } from '../../test/support/socket-client.ts';
import { createAck, type SignedAck } from '../core/ack.ts';
import { CLIENT_FRAME_BYTES_MAX, SUBPROTOCOL } from '../core/frame.ts';
import type { MessageId } from '../core/message.ts';
import { createRetraction } from '../core/retraction.ts';

let relay: ServedRelay | undefined;

async function serve(options: ServedRelayOptions = {}): Promise<ServedRelay> {
  relay = await serveRelay(options);
  return relay;
}

afterEach(async () => {
  await relay?.[Symbol.asyncDispose]();
  relay = undefined;
});

const UPGRADE_HEADERS = {
  Connection: 'Upgrade',
  Upgrade: 'websocket',
  'Sec-WebSocket-Version': '13',
  'Sec-WebSocket-Key': Buffer.alloc(16).toString('base64'),
  'Sec-WebSocket-Protocol': SUBPROTOCOL,
};

/** The word of the recipient that it has these messages. */
function ackOf(to: ServedRelay, ids: readonly MessageId[]): SignedAck {
  const idBytes = Buffer.concat(ids.map((id) => Buffer.from(id, 'base64url')));
  const signed = Buffer.concat([Buffer.from('archipelago ack v1\n'), idBytes]);
  const signature = sign(null, signed, to.recipient.privateKey);
  const ack = createAck(to.recipient.publicKey, signature, idBytes, Date.now() + 600_000, to.ring.pepper);
  if (!ack.ok) throw new Error(ack.fault);
  return ack.value;
}

describe('a recipient', () => {
  test('gets what waited, hears that it is all, and gets what comes later', async () => {
    const at = await serve();
    const waited = messageFor(at, 'waited');
    const later = messageFor(at, 'later');
    await store(at, [waited]);
    const client = await connect(at);
    await hello(client, at, 8);
    await eventually('empty', () => (client.texts.some(({ t }) => t === 'empty') ? true : undefined));
    expect(client.ids).toEqual([waited.id]);
    await store(at, [later]);
    await eventually('the later one', () => (client.ids.length === 2 ? true : undefined));
    expect(client.texts.map(({ t }) => t)).toEqual(['welcome', 'ready', 'empty']);
    expect(client.socket.protocol).toBe(SUBPROTOCOL);
  });

  test('acks, and what it acked is gone', async () => {
    const at = await serve();
    const message = messageFor(at, 'm');
    await store(at, [message]);
    const client = await connect(at);
    await hello(client, at, 8);
    await eventually('the message', () => (client.ids.length === 1 ? true : undefined));
    ack(client, at, client.ids);
    await eventually('its end', async () =>
      (await at.store.pending(at.recipient.tag, 1, 0)).length === 0 ? true : undefined,
    );
    expect(at.events.happened).toContain('acked 1');
  });

  test('does not get what another site has an ack of, and nobody is asked once it has caught up', async () => {
    const asked: (readonly string[])[] = [];
    const acks: SignedAck[] = [];
    const at: ServedRelay = await serve({
      buriedElsewhere: async (messages) => {
        asked.push(messages.map(({ id }) => id));
        await at.store.bury(
          acks.map((each) => ({ ack: each, owedTo: [] })),
          Date.now(),
        );
        return acks;
      },
    });
    const [acked, waited, later] = ['acked', 'waited', 'later'].map((name) => messageFor(at, name));
    if (acked === undefined || waited === undefined || later === undefined) throw new Error('three');
    acks.push(ackOf(at, [acked.id]));
    await store(at, [acked, waited]);
    const client = await connect(at);
    await hello(client, at, 8);
    await eventually('empty', () => (client.texts.some(({ t }) => t === 'empty') ? true : undefined));
    await store(at, [later]);
    await eventually('the later one', () => (client.ids.includes(later.id) ? true : undefined));
    expect(client.ids).toEqual([waited.id, later.id]);
    expect(asked.map((ids) => new Set(ids))).toEqual([new Set([acked.id, waited.id])]);
  });

  test('of whom nothing waits makes nobody ask', async () => {
    let asked = 0;
    const at = await serve({
      buriedElsewhere: async () => {
        asked += 1;
        return [];
      },
    });
    const client = await connect(at);
    await hello(client, at, 8);
    await eventually('empty', () => (client.texts.some(({ t }) => t === 'empty') ? true : undefined));
    const message = messageFor(at, 'm');
    await store(at, [message]);
    await eventually('the message', () => (client.ids.length === 1 ? true : undefined));
    expect(asked).toBe(0);
  });

  test('that leaves without an ack gets everything again', async () => {
    const at = await serve();
    const messages = [messageFor(at, 'a'), messageFor(at, 'b')];
    await store(at, messages);
    for (const client of [await connect(at), await connect(at)]) {
      await hello(client, at, 8);
      await eventually('both', () => (client.ids.length === 2 ? true : undefined));
      client.socket.terminate();
    }
  });

  test('gets a message that is not stored, if it is connected', async () => {
    const at = await serve();
    const client = await connect(at);
    await hello(client, at, 8);
    const reply = await at.ask('POST', at.recipient.path, {
      headers: { TTL: '0', 'Content-Encoding': 'aes128gcm' },
      body: ciphertext('now or never'),
    });
    expect(reply.status).toBe(201);
    await eventually('the message', () => (client.ids.length === 1 ? true : undefined));
    expect(await at.store.pending(at.recipient.tag, 1, 0)).toEqual([]);
  });

  test.each([64, 256])('with a window of %i gets a backlog of the largest messages', async (window) => {
    const at = await serve();
    const messages = Array.from({ length: window }, (_, index) => messageFor(at, `${index}`, 65_536));
    await store(at, messages);
    const client = await connect(at);
    await hello(client, at, window);
    await Promise.race([
      client.closed.then((code) => expect(code).toBe('open')),
      eventually('all of them', () => (client.ids.length === window ? true : undefined)),
    ]);
    expect(new Set(client.ids)).toEqual(new Set(messages.map(({ id }) => id)));
  });

  test('hears when to leave a relay that drains, each at a time of its own, and is closed then', async () => {
    const at = await serve();
    const clients = [await connect(at), await connect(at), await connect(at)];
    for (const client of clients) await hello(client, at, 8);
    const alternates = ['https://gcp.relay.test'];
    await at.recipients.drain(20_000, alternates);
    for (const client of clients) expect(await client.closed).toBe(1012);
    const told = clients.map(({ texts }) => texts.find(({ t }) => t === 'drain'));
    expect(told).toEqual([0, 10, 20].map((withinMs) => ({ t: 'drain', withinMs, alternates })));
  });

  test('is not taken any more by a relay that drains', async () => {
    const at = await serve();
    await at.recipients.drain(0, []);
    const reply = await at.ask('GET', '/v1/ws', { headers: UPGRADE_HEADERS });
    expect(reply.status).toBe(503);
    expect(reply.headers['retry-after']).toBe('1');
    expect(at.events.happened).toContain('refused draining');
  });
});

type Listener = Parameters<ServedRelay['store']['onChange']>[0];

test('one that reads slowly gets a backlog that grows meanwhile, and is not cut off for it', async () => {
  const tell: Listener[] = [];
  const at = await serve({
    wrapStore: (inner) => ({ ...inner, onChange: (listener) => void tell.push(listener) }),
  });
  const messages = Array.from({ length: 250 }, (_, index) => messageFor(at, `${index}`, 65_536));
  const client = await connect(at);
  await hello(client, at, 256);
  await store(at, messages.slice(0, 1));
  for (const listener of tell) listener(at.recipient.tag);
  await eventually('the first', () => (client.ids.length === 1 ? true : undefined));
  client.socket.pause();
  for (const message of messages.slice(1)) {
    await store(at, [message]);
    // As a store says what was stored.
    for (const listener of tell) listener(at.recipient.tag, message);
    await new Promise(setImmediate);
  }
  client.socket.resume();
  await eventually('all of them', () => (client.ids.length === messages.length ? true : undefined));
  expect(at.events.happened).not.toContain('sessionClosed too_slow');
});

test('a retraction that does not open a message makes nobody get that twice', async () => {
  let reads = 0;
  const tell: Listener[] = [];
  const at = await serve({
    session: { lookAgainMs: 100 },
    wrapStore: (inner) => ({
      ...inner,
      onChange: (listener, isListening) => {
        tell.push(listener);
        inner.onChange(listener, isListening);
      },
      pending: (...asked) => {
        reads += 1;
        return inner.pending(...asked);
      },
    }),
  });
  const message = messageFor(at, 'm');
  await store(at, [message]);
  const client = await connect(at);
  await hello(client, at, 8);
  await eventually('the message', () => (client.ids.length === 1 ? true : undefined));
  const opened = { id: message.id, opening: Buffer.alloc(16, 1).toString('base64url') };
  const retraction = createRetraction(at.recipient.tag, [opened], message.expiresMs);
  const before = reads;
  // As a store tells of what another relay of its site heard.
  for (const listener of tell) listener(at.recipient.tag, retraction);
  await eventually('two more looks', () => (reads >= before + 2 ? true : undefined));
  expect(client.ids).toEqual([message.id]);
});

describe('a connection is closed', () => {
  test.each<[string, string | Buffer, number]>([
    ['by a frame that is not in the protocol', 'rubbish', 4400],
    ['by bytes that are not in the protocol', Buffer.of(9), 4400],
    ['by a frame over the limit', Buffer.alloc(CLIENT_FRAME_BYTES_MAX + 1), 4413],
    ['by a token of somebody else', JSON.stringify({ t: 'hello', tokens: ['a.b.c'], window: 1 }), 4401],
  ])('%s', async (_, frame, code) => {
    const at = await serve();
    const client = await connect(at);
    client.socket.send(frame);
    expect(await client.closed).toBe(code);
    await eventually('its end', () => (at.recipients.count() === 0 ? true : undefined));
  });

  test('by a frame far over the limit, before it is read whole', async () => {
    const at = await serve();
    const client = await connect(at);
    client.socket.send(Buffer.alloc(8 * 1024 * 1024));
    expect([1006, 1009, 4413]).toContain(await client.closed);
    await eventually('a name for it', () =>
      at.events.happened.includes('sessionClosed too_large') ? true : undefined,
    );
  });

  test('by a frame that breaks the standard, with the code of the standard', async () => {
    const at = await serve();
    const client = await connect(at);
    client.socket.send(Buffer.of(0xff), { binary: false });
    expect(await client.closed).toBe(1007);
    await eventually('a name for it', () =>
      at.events.happened.includes('sessionClosed malformed') ? true : undefined,
    );
  });

  test('without a hello', async () => {
    const at = await serve({ session: { helloWithinMs: 50 } });
    expect(await (await connect(at)).closed).toBe(4408);
  });

  test('without answers to the beats', async () => {
    const at = await serve({ session: { heartbeatMs: 300 } });
    const client = await connect(at);
    await hello(client, at, 8);
    expect(await client.closed).toBe(4408);
    expect(client.texts.filter(({ t }) => t === 'beat').length).toBeGreaterThan(0);
  });

  test('when its recipient does not read, with little kept for it', async () => {
    const at = await serve({ session: { heartbeatMs: 300 } });
    const messages = Array.from({ length: 256 }, (_, index) => messageFor(at, `${index}`, 65_536));
    const client = await connect(at);
    await hello(client, at, 256);
    client.socket.pause();
    await store(at, messages);
    await eventually('its end', () =>
      at.events.happened.some((event) => event.startsWith('sessionClosed')) ? true : undefined,
    );
    const delivered = at.events.happened
      .filter((event) => event.startsWith('delivered'))
      .reduce((sum, event) => sum + Number(event.split(' ')[1]), 0);
    // What the kernels of both sides buffer comes on top of what the relay does.
    expect(delivered).toBeLessThan(256);
    client.socket.terminate();
  });

  test('when messages that are not stored come faster than its recipient reads', async () => {
    const at = await serve();
    const client = await connect(at);
    await hello(client, at, 256);
    client.socket.pause();
    for (let sent = 0; sent < 256; sent += 1) {
      at.recipients.deliverNow(messageFor(at, `${sent}`, 65_536));
    }
    await eventually('its end', () =>
      at.events.happened.includes('sessionClosed too_slow') ? true : undefined,
    );
    expect(at.events.happened.filter((event) => event.startsWith('delivered')).length).toBeLessThan(100);
    client.socket.terminate();
  });
});

test('a recipient that leaves while its token is verified leaves nothing behind', async () => {
  const gate = Promise.withResolvers<void>();
  let asked = 0;
  const at = await serve({
    wrapVerifier: (verify) => async (token) => {
      asked += 1;
      await gate.promise;
      return verify(token);
    },
  });
  const client = await connect(at);
  client.socket.send(JSON.stringify({ t: 'hello', tokens: [await at.recipient.token()], window: 8 }));
  await eventually('the question', () => (asked > 0 ? true : undefined));
  client.socket.terminate();
  await eventually('its end', () => (at.recipients.count() === 0 ? true : undefined));
  gate.resolve();
  await eventually('the answer', async () => {
    const reply = await at.ask('POST', at.recipient.path, {
      headers: { TTL: '0', 'Content-Encoding': 'aes128gcm' },
      body: ciphertext('nobody is there'),
    });
    return reply.status === 201 ? true : undefined;
  });
  expect(at.recipients.deliverNow(messageFor(at, 'nobody'))).toBe(false);
  expect(at.events.happened).not.toContain('sessionOpened');
});

/** What is answered instead of a WebSocket. */
async function refusalOf(at: ServedRelay, path: string): Promise<IncomingMessage> {
  const socket = new WebSocket(`wss://127.0.0.1:${at.port}${path}`, [SUBPROTOCOL], {
    rejectUnauthorized: false,
  });
  socket.on('error', () => undefined);
  const [, response] = (await once(socket, 'unexpected-response')) as [unknown, IncomingMessage];
  socket.terminate();
  return response;
}

test('upgrades to anything else are refused', async () => {
  const at = await serve();
  expect((await refusalOf(at, '/other')).statusCode).toBe(404);
  expect(at.events.happened).toContain('refused not_found');
});

test('more recipients than there is room for are told to come back, by WebSocket and by long-poll', async () => {
  const at = await serve({ recipientsMax: 2 });
  const first = await connect(at);
  const second = await connect(at);
  const refused = await refusalOf(at, '/v1/ws');
  expect(refused).toMatchObject({ statusCode: 503, headers: { 'retry-after': '2' } });
  const headers = { Authorization: `Bearer ${await at.recipient.token()}` };
  const polled = await at.ask('GET', '/v1/messages?wait=1', { headers });
  expect(JSON.parse(polled.body)).toMatchObject({ status: 503, code: 'overloaded' });
  expect(at.events.happened.filter((event) => event === 'refused overloaded')).toHaveLength(2);
  first.socket.terminate();
  await eventually('room', async () =>
    (await at.ask('GET', '/v1/messages?wait=1', { headers })).status === 200 ? true : undefined,
  );
  second.socket.terminate();
});
