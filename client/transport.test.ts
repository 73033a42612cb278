/**
 * What every transport does, held against both, over plain HTTP on loopback; and what only the Node transport can.
 */
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket as TcpSocket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocketServer } from 'ws';
import { createNodeTransport } from './node-transport.ts';
import { checkOrigin, RESPONSE_BYTES_MAX, type Transport } from './transport.ts';
import { webClock } from './web-clock.ts';
import { createWebTransport } from './web-transport.ts';

const nodeTransport = createNodeTransport({ clock: webClock, connectTimeoutMs: 300, keepAlive: false });
const limits = { timeoutMs: 10_000 };

describe.each<[string, Transport]>([
  ['the web transport', createWebTransport(webClock)],
  ['the Node transport', nodeTransport],
])('%s', (_name, transport) => {
  let server: Server;
  let sockets: WebSocketServer;
  let origin: string;
  let answer: RequestListener;

  beforeEach(async () => {
    server = createServer((request, response) => answer(request, response));
    sockets = new WebSocketServer({ server, handleProtocols: (offered) => [...offered][0] ?? false });
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });

  afterEach(async () => {
    for (const client of sockets.clients) client.terminate();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  const get = (path = '/') => transport.request({ origin, method: 'GET', path, headers: {} }, limits);

  test('carries method, path, headers and bytes there, and status, headers and bytes back', async () => {
    answer = (request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => void chunks.push(chunk));
      request.on('end', () => {
        const seen = { method: request.method, url: request.url, ttl: request.headers['ttl'] };
        response.writeHead(201, { location: '/m/1', 'x-body': Buffer.concat(chunks).toString('hex') });
        response.end(JSON.stringify(seen));
      });
    };
    const body = Uint8Array.of(0, 255, 7);
    const response = await transport.request(
      { origin, method: 'POST', path: '/p/x?y=1', headers: { ttl: '60' }, body },
      limits,
    );
    expect(response.status).toBe(201);
    expect(response.header('location')).toBe('/m/1');
    expect(response.header('absent')).toBeUndefined();
    expect(response.header('x-body')).toBe('00ff07');
    expect(JSON.parse(new TextDecoder().decode(response.body))).toEqual({
      method: 'POST',
      url: '/p/x?y=1',
      ttl: '60',
    });
  });

  test('an answer that is too long is not read to its end', async () => {
    answer = (_request, response) => void response.end(Buffer.alloc(RESPONSE_BYTES_MAX + 1));
    await expect(get()).rejects.toMatchObject({ fault: 'response_too_large' });
    answer = (_request, response) => void response.end(Buffer.alloc(RESPONSE_BYTES_MAX));
    expect((await get()).body).toHaveLength(RESPONSE_BYTES_MAX);
  });

  test('silence ends with the time-out, and nobody knows whether the request arrived', async () => {
    answer = () => undefined;
    const asked = transport.request({ origin, method: 'GET', path: '/', headers: {} }, { timeoutMs: 50 });
    await expect(asked).rejects.toMatchObject({ fault: 'timeout', mayHaveArrived: true });
  });

  test('an answer that never ends runs into the time-out too', async () => {
    answer = (_request, response) => void response.writeHead(200).write('x');
    const asked = transport.request({ origin, method: 'GET', path: '/', headers: {} }, { timeoutMs: 100 });
    await expect(asked).rejects.toMatchObject({ fault: 'timeout', mayHaveArrived: true });
  });

  test('a connection that is cut is a TransportError', async () => {
    answer = (request) => request.socket.destroy();
    await expect(get()).rejects.toMatchObject({ name: 'TransportError', mayHaveArrived: true });
  });

  test('the reason of the signal comes back as it is', async () => {
    const stop = new AbortController();
    answer = () => stop.abort(new Error('enough'));
    const asked = transport.request(
      { origin, method: 'GET', path: '/', headers: {} },
      { ...limits, signal: stop.signal },
    );
    await expect(asked).rejects.toThrow('enough');
  });

  test('a redirect is not followed', async () => {
    const paths: (string | undefined)[] = [];
    answer = (request, response) => {
      paths.push(request.url);
      response.writeHead(307, { location: `${origin}/elsewhere` }).end();
    };
    await get().catch(() => undefined);
    expect(paths).toEqual(['/']);
  });

  test('a socket carries text and bytes both ways, and its close code', async () => {
    sockets.on('connection', (socket) => {
      socket.on('message', (data: Buffer, isBinary) => {
        socket.send(data, { binary: isBinary });
        if (isBinary) socket.close(4401);
      });
      socket.send('welcome');
    });
    const heard: unknown[] = [];
    const { promise, resolve } = Promise.withResolvers<number>();
    const socket = transport.connect(origin, '/v1/ws', 'relay.v1', {
      onText: (text) => {
        heard.push(text);
        if (text === 'welcome') socket.send('hello');
        else socket.send(Uint8Array.of(1, 2));
      },
      onBinary: (bytes) => void heard.push([...bytes]),
      onClose: resolve,
    });
    expect(await promise).toBe(4401);
    expect(heard).toEqual(['welcome', 'hello', [1, 2]]);
    socket.send('into the void');
    socket.close(1000);
  });

  test('a socket that cannot be opened closes', async () => {
    await new Promise((resolve) => server.close(resolve));
    const { promise, resolve } = Promise.withResolvers<number>();
    transport.connect(origin, '/v1/ws', 'relay.v1', {
      onText: () => undefined,
      onBinary: () => undefined,
      onClose: resolve,
    });
    expect(await promise).toBe(1006);
  });

  test('a socket that is closed before it opened closes once', async () => {
    const codes: number[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    const socket = transport.connect(origin, '/v1/ws', 'relay.v1', {
      onText: () => undefined,
      onBinary: () => undefined,
      onClose: (code) => {
        codes.push(code);
        resolve();
      },
    });
    socket.close(1000);
    socket.close(1000);
    await promise;
    expect(codes).toEqual([1006]);
  });
});

describe('the Node transport alone', () => {
  test('gives up a connection that does not come up, and knows that nothing was sent', async () => {
    const held: TcpSocket[] = [];
    const server = createTcpServer((socket) => void held.push(socket.on('error', () => undefined)));
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    const origin = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const asked = nodeTransport.request({ origin, method: 'GET', path: '/', headers: {} }, limits);
    await expect(asked).rejects.toMatchObject({ fault: 'timeout', mayHaveArrived: false });
    for (const socket of held) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });

  test('asks again over a new connection when a kept one turns out to be dead', async () => {
    const answered = new Set<TcpSocket>();
    const server = createServer((request, response) => {
      // Only the first request of a connection gets an answer.
      if (answered.has(request.socket)) request.socket.destroy();
      else response.end();
      answered.add(request.socket);
    });
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const keeping = createNodeTransport({ clock: webClock, connectTimeoutMs: 300, keepAlive: true });
    for (let turn = 0; turn < 3; turn += 1) {
      const response = await keeping.request({ origin, method: 'GET', path: '/', headers: {} }, limits);
      expect(response.status).toBe(200);
    }
    expect(answered.size).toBe(3);
    keeping.close();
    await new Promise((resolve) => server.close(resolve));
  });

  test('drops what it kept to a machine that has stopped answering', async () => {
    const connections = new Set<TcpSocket>();
    const server = createServer((request, response) => {
      connections.add(request.socket);
      if (request.url === '/') setTimeout(() => response.end(), 20);
    });
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const keeping = createNodeTransport({ clock: webClock, connectTimeoutMs: 300, keepAlive: true });
    const ask = (path: string, timeoutMs: number) =>
      keeping.request({ origin, method: 'GET', path, headers: {} }, { timeoutMs });
    await Promise.all([ask('/', 5000), ask('/', 5000)]);
    expect(connections.size).toBe(2);
    await expect(ask('/silence', 50)).rejects.toMatchObject({ fault: 'timeout' });
    await ask('/', 5000);
    expect(connections.size).toBe(3);
    keeping.close();
    await new Promise((resolve) => server.close(resolve));
  });

  test('says when a name has no address', async () => {
    const lost = createNodeTransport({
      clock: webClock,
      connectTimeoutMs: 300,
      keepAlive: false,
      lookup: () => Promise.resolve([]),
    });
    const asked = lost.request(
      { origin: 'https://relay.test', method: 'GET', path: '/', headers: {} },
      limits,
    );
    await expect(asked).rejects.toMatchObject({ fault: 'unresolved', mayHaveArrived: false });
  });
});

test('only https is allowed, and http to this machine', () => {
  for (const origin of [
    'https://relay.example.com',
    'https://a.test:8443',
    'http://localhost:1',
    'http://[::1]:1',
  ]) {
    expect(() => checkOrigin(origin)).not.toThrow();
  }
  for (const origin of [
    'http://relay.example.com',
    'http://127.0.0.1.evil.test',
    'ftp://127.0.0.1',
    'https://a/',
    '',
  ]) {
    expect(() => checkOrigin(origin)).toThrow('origin_not_allowed');
  }
});
