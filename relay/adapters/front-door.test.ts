/** One port for two kinds of callers: who is led where, who is turned away, and how the door closes. */
import { once } from 'node:events';
import type { Server as HttpsServer } from 'node:https';
import { createServer as createHttpsServer, request as httpsRequest } from 'node:https';
import { type AddressInfo, connect as connectTcp, type Socket } from 'node:net';
import { connect, createServer as createTlsServer, type TLSSocket, type Server as TlsServer } from 'node:tls';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { issueServerCertificate, makeAuthority } from '../../fleet/certificates.ts';
import { systemClock } from '../../system/clock.ts';
import { systemRandom } from '../../system/random.ts';
import { eventually } from '../../test/support/eventually.ts';
import { createRecordedEvents, type RecordedEvents } from '../../test/support/recorded-events.ts';
import { socketClosed } from '../../test/support/socket-closed.ts';
import { captureClientHello } from '../../test/support/stalled-handshake.ts';
import { BEYOND_CLIENTS_MAX, createFrontDoor, type FrontDoor } from './front-door.ts';

const PEER_NAME = 'peer.aws.relay.test';
const context = { wallMs: systemClock.wallMs(), random: systemRandom };
const authority = await makeAuthority(context);
const forClients = await issueServerCertificate(context, authority, ['aws.relay.test', PEER_NAME]);
const forPeers = await issueServerCertificate(context, authority, [PEER_NAME]);

let events: RecordedEvents;
let clients: HttpsServer;
let peers: TlsServer;
let door: FrontDoor;
let port: number;

async function open(options: { readonly connectionsMax?: number; readonly helloWithinMs?: number } = {}) {
  events = createRecordedEvents();
  clients = createHttpsServer({ cert: forClients.certificatePem, key: forClients.keyPem }, (_, response) => {
    response.end('for clients');
  });
  clients.on('tlsClientError', (_, socket) => socket.destroy());
  // Node keeps track of connections from the moment a server listens.
  clients.emit('listening');
  peers = createTlsServer({ cert: forPeers.certificatePem, key: forPeers.keyPem }, (socket) => {
    socket.on('error', () => undefined).end('for peers');
  });
  peers.on('tlsClientError', (_, socket) => socket.destroy());
  door = createFrontDoor({
    peerServerName: PEER_NAME,
    clients: {
      take: (socket) => void clients.emit('connection', socket),
      closeIdleConnections: () => clients.closeIdleConnections(),
      closeAllConnections: () => clients.closeAllConnections(),
    },
    peers,
    connectionsMax: 100,
    events,
    ...options,
  });
  door.server.listen(0, '127.0.0.1');
  await once(door.server, 'listening');
  port = (door.server.address() as AddressInfo).port;
}

beforeEach(async () => {
  await open();
});

afterEach(async () => {
  await door.close(0);
});

async function text(socket: TLSSocket | Socket): Promise<string> {
  let received = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    received += chunk;
  });
  await socketClosed(socket);
  return received;
}

function call(servername: string | undefined): TLSSocket {
  return connect({
    port,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    ...(servername === undefined ? {} : { servername }),
  });
}

async function untilConnections(wanted: number): Promise<void> {
  await eventually(`${wanted} connections`, async () => {
    const { promise, resolve } = Promise.withResolvers<number>();
    door.server.getConnections((_, count) => resolve(count));
    return (await promise) === wanted ? true : undefined;
  });
}

const REQUEST = 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';

async function tcp(): Promise<Socket> {
  const socket = connectTcp(port, '127.0.0.1');
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

describe('a caller is led', () => {
  test("to the peers' server by its name, whatever the case", async () => {
    expect(await text(call(PEER_NAME))).toBe('for peers');
    expect(await text(call(PEER_NAME.toUpperCase()))).toBe('for peers');
  });

  test.each([['aws.relay.test'], ['peer.gcp.relay.test'], [undefined]])(
    "to the clients' server by the name %s",
    async (name) => {
      const socket = call(name);
      socket.write(REQUEST);
      expect(await text(socket)).toContain('for clients');
    },
  );

  test('when its hello comes a few bytes at a time', async () => {
    const hello = await captureClientHello({ servername: PEER_NAME });
    const socket = await tcp();
    for (let at = 0; at < hello.length; at += 100) {
      socket.write(hello.subarray(at, at + 100));
      await new Promise(setImmediate);
    }
    const [answer] = (await once(socket, 'data')) as [Buffer];
    // A handshake record (RFC 8446 §5.1): some TLS server has answered.
    expect(answer.readUInt8(0)).toBe(22);
    socket.destroy();
  });
});

describe('turned away is', () => {
  test('what begins no TLS connection', async () => {
    const socket = await tcp();
    socket.write('GET / HTTP/1.1\r\n\r\n');
    expect(await text(socket)).toBe('');
    expect(events.happened).toEqual(['turnedAway no_client_hello']);
  });

  test('a hello that never ends', async () => {
    const socket = await tcp();
    // A handshake of 16 MiB, in records of 1 KiB.
    const record = Buffer.concat([
      Buffer.of(22, 3, 1, 4, 0),
      Buffer.of(1, 0xff, 0xff, 0xff),
      Buffer.alloc(1020),
    ]);
    for (let records = 0; records < 20; records += 1) socket.write(record);
    await text(socket);
    expect(events.happened).toEqual(['turnedAway no_client_hello']);
  });

  test('a hello that does not come in time', async () => {
    await door.close(0);
    await open({ helloWithinMs: 50 });
    const silent = await tcp();
    const slow = await tcp();
    slow.write(Buffer.of(22, 3, 1));
    await Promise.all([text(silent), text(slow)]);
    expect(events.happened).toEqual(['turnedAway hello_timeout', 'turnedAway hello_timeout']);
  });

  test('a connection too many, until another has gone', async () => {
    await door.close(0);
    await open({ connectionsMax: 1 });
    const first = call('aws.relay.test');
    await once(first, 'secureConnect');
    await text(call('aws.relay.test'));
    expect(events.happened).toEqual(['turnedAway too_many_connections']);
    first.destroy();
    await eventually('room', async () => {
      const socket = call('aws.relay.test');
      socket.write(REQUEST);
      return (await text(socket)).includes('for clients') ? true : undefined;
    });
  });

  test('no peer, however many clients there are', async () => {
    await door.close(0);
    await open({ connectionsMax: 1 });
    const first = call('aws.relay.test');
    await once(first, 'secureConnect');
    expect(await text(call(PEER_NAME))).toBe('for peers');
    expect(events.happened).toEqual([]);
    first.destroy();
  });

  test('whoever says nothing, when there are more of those than clients and peers may be', async () => {
    await door.close(0);
    await open({ connectionsMax: 1 });
    const silent = Array.from({ length: 1 + BEYOND_CLIENTS_MAX }, tcp);
    await untilConnections(1 + BEYOND_CLIENTS_MAX);
    await text(await tcp());
    expect(events.happened).toEqual(['turnedAway too_many_connections']);
    for (const socket of await Promise.all(silent)) socket.destroy();
  });
});

test('a caller that leaves in the middle of its hello leaves nothing behind', async () => {
  const socket = await tcp();
  socket.write(Buffer.of(22, 3, 1, 2));
  await untilConnections(1);
  socket.resetAndDestroy();
  await untilConnections(0);
  expect(events.happened).toEqual([]);
});

describe('the door closes', () => {
  test('after the requests under way are answered, and takes nothing new', async () => {
    const gate = Promise.withResolvers<void>();
    clients.removeAllListeners('request');
    const arrived = Promise.withResolvers<void>();
    clients.on('request', (_, response) => {
      arrived.resolve();
      void gate.promise.then(() => response.end('late'));
    });
    const answer = Promise.withResolvers<string>();
    httpsRequest({ port, host: '127.0.0.1', rejectUnauthorized: false, agent: false }, (response) => {
      response.setEncoding('utf8').on('data', answer.resolve);
    }).end();
    await arrived.promise;
    const closed = door.close(10_000);
    await expect(tcp()).rejects.toThrow('ECONNREFUSED');
    gate.resolve();
    expect(await answer.promise).toBe('late');
    await closed;
  });

  test('on those that do not finish, when their time is over', async () => {
    clients.removeAllListeners('request');
    const socket = call('aws.relay.test');
    socket.on('error', () => undefined);
    const arrived = once(clients, 'request');
    socket.write(REQUEST);
    await arrived;
    const cut = socketClosed(socket);
    await door.close(50);
    await cut;
  });

  test('on callers that have not said a word', async () => {
    const silent = await tcp();
    await untilConnections(1);
    const cut = socketClosed(silent);
    await door.close(0);
    await cut;
  });

  test('also when a client resets its connection meanwhile', async () => {
    clients.removeAllListeners('request');
    const raw = await tcp();
    const socket = connect({ socket: raw, servername: 'aws.relay.test', rejectUnauthorized: false });
    socket.on('error', () => undefined);
    const arrived = once(clients, 'request');
    socket.write(REQUEST);
    await arrived;
    const closed = door.close(5000);
    raw.resetAndDestroy();
    await closed;
  });
});
