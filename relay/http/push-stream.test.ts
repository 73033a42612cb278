/** Push requests in their plainest form over real TLS connections, and connections that leave that form. */
import type { TLSSocket } from 'node:tls';
import { afterEach, expect, test } from 'vitest';
import { ciphertext } from '../../test/support/ciphertext.ts';
import { eventually } from '../../test/support/eventually.ts';
import { type ServedRelay, type ServedRelayOptions, serveRelay } from '../../test/support/served-relay.ts';
import { socketClosed } from '../../test/support/socket-closed.ts';

let relay: ServedRelay | undefined;
/** Requests that Node's HTTP read. */
let byNode: number;

async function serve(options: ServedRelayOptions = {}): Promise<ServedRelay> {
  relay = await serveRelay(options);
  byNode = 0;
  relay.http.on('request', () => {
    byNode += 1;
  });
  return relay;
}

afterEach(async () => {
  await relay?.[Symbol.asyncDispose]();
  relay = undefined;
});

function push(at: ServedRelay, body: Buffer, more = ''): Buffer {
  const head =
    `POST ${at.recipient.path} HTTP/1.1\r\nHost: x\r\nTTL: 60\r\nContent-Encoding: aes128gcm\r\n${more}` +
    `Content-Length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), body]);
}

/** Everything that comes, as it comes. */
function listen(socket: TLSSocket): { readonly text: () => string } {
  let text = '';
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    text += chunk;
  });
  return { text: () => text };
}

async function answers(heard: { readonly text: () => string }, count: number): Promise<readonly string[]> {
  return eventually(`${count} answers`, () => {
    const found = heard.text().match(/HTTP\/1\.1 \d{3}/g) ?? [];
    return found.length >= count ? found.map((one) => one.slice(-3)) : undefined;
  });
}

async function stored(at: ServedRelay): Promise<readonly string[]> {
  const messages = await at.store.pending(at.recipient.tag, 100, 0);
  return messages.map(({ body }) => Buffer.from(body).toString('hex')).sort();
}

test.each([485, 2186])(
  'a heap of plain requests of %i bytes never reaches Node, however large',
  async (bytes) => {
    const at = await serve();
    const socket = await at.connect();
    const heard = listen(socket);
    const requests = Array.from({ length: 1500 }, (_, place) =>
      push(at, ciphertext(`${place} `.padEnd(bytes, 'x'))),
    );
    socket.write(Buffer.concat(requests));
    expect(await answers(heard, requests.length)).toHaveLength(requests.length);
    expect(byNode).toBe(0);
  },
);

test('a plain request never reaches Node, and its answer is a whole one', async () => {
  const at = await serve();
  const socket = await at.connect();
  const heard = listen(socket);
  socket.write(push(at, ciphertext('one')));
  expect(await answers(heard, 1)).toEqual(['201']);
  expect(heard.text()).toMatch(
    /^HTTP\/1\.1 201 Created\r\nAccess-Control-Allow-Origin: \*\r\nAccess-Control-Expose-Headers: \S+\r\nLocation: https:\/\/relay\.test\/m\/\S+\r\nTTL: 60\r\nContent-Length: 0\r\nDate: \w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=20\r\n\r\n$/,
  );
  expect(await stored(at)).toEqual([ciphertext('one').toString('hex')]);
  expect(byNode).toBe(0);
  socket.destroy();
});

test('requests that do not wait for answers are answered one after the other', async () => {
  const at = await serve();
  const socket = await at.connect();
  const heard = listen(socket);
  const bodies = Array.from({ length: 25 }, (_, place) => ciphertext(`message ${place}`, 2000));
  socket.write(Buffer.concat(bodies.map((body) => push(at, body))));
  expect(await answers(heard, 25)).toEqual(bodies.map(() => '201'));
  expect(await stored(at)).toEqual(bodies.map((body) => body.toString('hex')).sort());
  socket.destroy();
});

test('a connection goes over to Node with the first request that is not plain, and nothing is lost', async () => {
  const at = await serve();
  const socket = await at.connect();
  const heard = listen(socket);
  const [one, two, three] = ['one', 'two', 'three'].map((text) => ciphertext(text));
  const others = `GET /v1/info HTTP/1.1\r\nHost: x\r\n\r\n`;
  socket.write(
    Buffer.concat([push(at, one ?? Buffer.alloc(0)), Buffer.from(others), push(at, two ?? Buffer.alloc(0))]),
  );
  expect(await answers(heard, 3)).toEqual(['201', '200', '201']);
  socket.write(push(at, three ?? Buffer.alloc(0)));
  expect(await answers(heard, 4)).toEqual(['201', '200', '201', '201']);
  expect(await stored(at)).toHaveLength(3);
  expect(byNode).toBe(3);
  socket.destroy();
});

test('a request that comes in pieces is read by Node', async () => {
  const at = await serve();
  const socket = await at.connect();
  const heard = listen(socket);
  const body = ciphertext('in pieces', 3000);
  const bytes = push(at, body);
  for (let from = 0; from < bytes.length; from += 500) {
    socket.write(bytes.subarray(from, from + 500));
    await new Promise(setImmediate);
  }
  expect(await answers(heard, 1)).toEqual(['201']);
  expect(await stored(at)).toEqual([body.toString('hex')]);
  socket.destroy();
});

test('a plain request is refused by name, and the connection stays', async () => {
  const at = await serve();
  const socket = await at.connect();
  const heard = listen(socket);
  socket.write(push(at, ciphertext('x'), 'Urgency: soon\r\n'));
  expect(await answers(heard, 1)).toEqual(['400']);
  expect(heard.text()).toContain('"code":"urgency_unknown"');
  socket.write(push(at, ciphertext('x')));
  expect(await answers(heard, 2)).toEqual(['400', '201']);
  expect(byNode).toBe(0);
  socket.destroy();
});

test('what is no ciphertext is refused, and nothing after it is read', async () => {
  const at = await serve();
  const socket = await at.connect();
  const heard = listen(socket);
  socket.write(Buffer.concat([push(at, Buffer.from('plain text')), push(at, ciphertext('x'))]));
  await socketClosed(socket);
  expect(heard.text()).toMatch(/^HTTP\/1\.1 415 /);
  expect(heard.text()).toContain('Connection: close');
  expect(await stored(at)).toEqual([]);
});

test('a connection that says nothing after an answer is cut', async () => {
  const at = await serve({ clientLimits: { keptMs: 100, checkEveryMs: 20 } });
  const socket = await at.connect();
  const heard = listen(socket);
  socket.write(push(at, ciphertext('x')));
  await socketClosed(socket);
  expect(await answers(heard, 1)).toEqual(['201']);
});

test('what a sender says before its answer is not kept for it without limit', async () => {
  const gate = Promise.withResolvers<void>();
  const at = await serve({
    wrapStore: (store) => ({
      ...store,
      insert: async (insertions, nowMs) => {
        await gate.promise;
        return store.insert(insertions, nowMs);
      },
    }),
  });
  const socket = await at.connect();
  const heard = listen(socket);
  const one = push(at, ciphertext('again and again', 4900));
  let isTaken = false;
  // Far more than both systems keep for a connection.
  socket.write(Buffer.concat(Array.from({ length: 4000 }, () => one)), () => {
    isTaken = true;
  });
  const other = await at.connect();
  const otherHeard = listen(other);
  other.write('GET /v1/info HTTP/1.1\r\nHost: x\r\n\r\n');
  // Whatever would be read is read while others are served.
  for (let round = 1; round <= 20; round += 1) {
    await answers(otherHeard, round);
    other.write('GET /v1/info HTTP/1.1\r\nHost: x\r\n\r\n');
  }
  expect(isTaken).toBe(false);
  expect(heard.text()).toBe('');
  socket.destroy();
  other.destroy();
  gate.resolve();
});

test('a request that takes long is no silence', async () => {
  const gate = Promise.withResolvers<void>();
  const at = await serve({
    clientLimits: { keptMs: 100, headersTimeoutMs: 100, checkEveryMs: 20 },
    wrapStore: (store) => ({
      ...store,
      insert: async (insertions, nowMs) => {
        await gate.promise;
        return store.insert(insertions, nowMs);
      },
    }),
  });
  const busy = await at.connect();
  const heard = listen(busy);
  busy.write(push(at, ciphertext('late')));
  // Others that say nothing are cut meanwhile, one after the other.
  for (let round = 0; round < 3; round += 1) await socketClosed(await at.connect());
  gate.resolve();
  expect(await answers(heard, 1)).toEqual(['201']);
});

test('a connection is kept longer after an answer than before the first word', async () => {
  const at = await serve({ clientLimits: { headersTimeoutMs: 100, checkEveryMs: 20 } });
  const kept = await at.connect();
  const heard = listen(kept);
  kept.write(push(at, ciphertext('one')));
  expect(await answers(heard, 1)).toEqual(['201']);
  for (let round = 0; round < 3; round += 1) await socketClosed(await at.connect());
  kept.write(push(at, ciphertext('two')));
  expect(await answers(heard, 2)).toEqual(['201', '201']);
  kept.destroy();
});

test('a relay that stops answers what is under way and cuts the rest', async () => {
  const gate = Promise.withResolvers<void>();
  let asked = 0;
  const at = await serve({
    wrapStore: (store) => ({
      ...store,
      insert: async (insertions, nowMs) => {
        asked += 1;
        await gate.promise;
        return store.insert(insertions, nowMs);
      },
    }),
  });
  const [idle, busy] = [await at.connect(), await at.connect()];
  const heard = listen(busy);
  busy.write(push(at, ciphertext('late')));
  await eventually('the write', () => (asked > 0 ? true : undefined));
  const closed = at.frontDoor.close(5000);
  await socketClosed(idle);
  expect(heard.text()).toBe('');
  gate.resolve();
  expect(await answers(heard, 1)).toEqual(['201']);
  await closed;
});
