/** Links between relays over real TLS: who is believed, what survives, and what ends a connection. */
import { once } from 'node:events';
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { makePinnedIdentity } from '../../fleet/certificates.ts';
import type { SiteEntry } from '../../fleet/manifest/manifest.ts';
import { systemClock } from '../../system/clock.ts';
import { connectPinned, type PinnedDestination, pinOf } from '../../system/pinned-tls.ts';
import { seededRandom, systemRandom } from '../../system/random.ts';
import { eventually } from '../../test/support/eventually.ts';
import { createFakeClock, type FakeClock } from '../../test/support/fake-clock.ts';
import { testManifest } from '../../test/support/manifests.ts';
import { createRecordedEvents, type RecordedEvents } from '../../test/support/recorded-events.ts';
import { socketClosed } from '../../test/support/socket-closed.ts';
import { stallHandshake } from '../../test/support/stalled-handshake.ts';
import { encodePeerFrame, FRAME_BYTES_MAX, type PeerReply, type PeerRequest } from '../core/peer-frame.ts';
import { PeerUnreachable } from '../ports.ts';
import { createPeerLink, type RunningPeerLink } from './peer-link.ts';
import { createPeerListener } from './peer-listener.ts';

type Name = 'aws' | 'gcp' | 'stranger';
const context = { wallMs: systemClock.wallMs(), random: systemRandom };
const identities = {
  aws: await makePinnedIdentity(context, 'aws'),
  gcp: await makePinnedIdentity(context, 'gcp'),
  stranger: await makePinnedIdentity(context, 'stranger'),
};
const sites: SiteEntry[] = testManifest(['aws', 'gcp']).sites.map((site) => ({
  ...site,
  relay: { ...site.relay, pins: [pinOf(identities[site.name as 'aws' | 'gcp'].publicKeySpki)] },
}));

let clock: FakeClock;
let events: RecordedEvents;
let listenerEvents: RecordedEvents;
let server: Server;
let port: number;
/** Raw sockets that the listener was given. */
let sockets: Set<Socket>;
let answer: (request: PeerRequest, from: string) => Promise<PeerReply>;
const links: RunningPeerLink[] = [];
/** What the manifest lists now, if it is not the one relay of `gcp`. */
let destinations: readonly PinnedDestination[] | undefined;

/** The listener of `gcp`, behind a plain server as behind the front door. */
async function listen(as: Name = 'gcp', at = 0, limits: { readonly handshakeTimeoutMs?: number } = {}) {
  const listener = createPeerListener({
    own: 'gcp',
    sites,
    identity: identities[as],
    service: (request, from) => answer(request, from),
    events: listenerEvents,
    ...limits,
  });
  server = createTcpServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    listener.emit('connection', socket);
  });
  server.listen(at, '127.0.0.1');
  await once(server, 'listening');
  port = (server.address() as AddressInfo).port;
}

async function stopListening(): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  for (const socket of sockets) socket.destroy();
  await closed;
}

/** A link from `aws` to `gcp`. */
function link(
  as: Name = 'aws',
  onTime: (wallMs: number, atMs: number) => void = () => undefined,
): RunningPeerLink {
  const made = createPeerLink({
    site: 'gcp',
    provider: 'gcp',
    destinations: () =>
      destinations ?? [
        {
          host: '127.0.0.1',
          port,
          serverName: 'peer.gcp.relay.test',
          pins: [pinOf(identities.gcp.publicKeySpki)],
        },
      ],
    identity: identities[as],
    connect: connectPinned,
    clock,
    random: seededRandom(1),
    events,
    onTime,
  });
  links.push(made);
  return made;
}

async function up(made: RunningPeerLink): Promise<void> {
  await eventually('the link', async () => {
    if (made.isUp()) return true;
    await clock.advance(100);
    return undefined;
  });
}

/** A connection to the listener that a test writes on by hand. */
async function byHand(): Promise<TLSSocket> {
  const socket = connect({
    cert: identities.aws.certificatePem,
    key: identities.aws.keyPem,
    rejectUnauthorized: false,
    host: '127.0.0.1',
    port,
  });
  socket.on('error', () => undefined);
  await once(socket, 'secureConnect');
  return socket;
}

beforeEach(async () => {
  clock = createFakeClock();
  events = createRecordedEvents();
  listenerEvents = createRecordedEvents();
  sockets = new Set();
  destinations = undefined;
  answer = (request) =>
    Promise.resolve(
      request.type === 'ping' ? { type: 'pong', wallMs: clock.wallMs() + 5000 } : { type: 'done' },
    );
  await listen();
});

afterEach(async () => {
  await Promise.all(
    links.splice(0).map(async (made) => {
      const closed = made.close();
      await clock.advance(0);
      await closed;
    }),
  );
  if (server.listening) await stopListening();
});

describe('a link', () => {
  test('carries requests of a site that the manifest lists, and tells its name', async () => {
    const callers: string[] = [];
    answer = (request, from) => {
      callers.push(from);
      return Promise.resolve(request.type === 'ping' ? { type: 'pong', wallMs: 0 } : { type: 'done' });
    };
    const made = link();
    await up(made);
    expect(await made.call({ type: 'held', sites: ['aws'], references: [] }, 1000)).toEqual({ type: 'done' });
    expect(new Set(callers)).toEqual(new Set(['aws']));
    expect(events.happened).toEqual(['peerUp gcp']);
  });

  test('keeps its connection while what it proved is listed, and ends it when it is not', async () => {
    const made = link();
    await up(made);
    const pins = [pinOf(identities.gcp.publicKeySpki)];
    const serverName = 'peer.gcp.relay.test';
    destinations = [
      { host: '127.0.0.2', port, serverName, pins },
      { host: '127.0.0.1', port, serverName, pins: [...pins, 'another'] },
    ];
    made.recheck();
    expect(made.isUp()).toBe(true);
    destinations = [{ host: '127.0.0.1', port, serverName, pins: ['another'] }];
    made.recheck();
    await eventually('its end', () => (made.isUp() ? undefined : true));
    expect(events.happened).toEqual(['peerUp gcp', 'peerDown gcp']);
  });

  test('is cut by a listener whose manifest has its site no longer', async () => {
    const made = link();
    await up(made);
    const former = sites.splice(0);
    try {
      await eventually('its end', async () => {
        await clock.advance(100);
        return made.isUp() ? undefined : true;
      });
    } finally {
      sites.push(...former);
    }
    expect(listenerEvents.happened).toContain('turnedAway peer_key_unknown');
  });

  test('measures how far the clocks are apart', async () => {
    const skews: number[] = [];
    const made = link('aws', (wallMs, atMs) =>
      skews.push(wallMs - atMs - (clock.wallMs() - clock.monotonicMs())),
    );
    await eventually('the link', () => (made.isUp() ? true : undefined));
    expect(await eventually('a skew', () => skews[0])).toBe(5000);
  });

  test('keeps calls apart that are answered in another order', async () => {
    const waiting: { readonly request: PeerRequest; readonly resolve: (reply: PeerReply) => void }[] = [];
    answer = (request) => {
      if (request.type === 'ping') return Promise.resolve({ type: 'pong', wallMs: 0 });
      const { promise, resolve } = Promise.withResolvers<PeerReply>();
      waiting.push({ request, resolve });
      return promise;
    };
    const made = link();
    await up(made);
    const cursors = Array.from({ length: 200 }, (_, index) => String(index));
    const calls = cursors.map((cursor) =>
      made.call({ type: 'list', partition: '00' as never, cursor, slices: 1n, fromMs: 0 }, 1000),
    );
    await eventually('all requests', () => (waiting.length === cursors.length ? true : undefined));
    for (const { request, resolve } of waiting.toReversed()) {
      resolve({ type: 'page', references: [], cursor: request.type === 'list' ? request.cursor : '' });
    }
    const replies = await Promise.all(calls);
    expect(replies.map((reply) => (reply.type === 'page' ? reply.cursor : ''))).toEqual(cursors);
  });

  test('carries records of many sizes, large ones cut into many packets', async () => {
    const arrived: number[][] = [];
    answer = (request) => {
      if (request.type === 'put') arrived.push(request.records.map(({ record }) => record.length));
      return Promise.resolve(request.type === 'ping' ? { type: 'pong', wallMs: 0 } : { type: 'done' });
    };
    const made = link();
    await up(made);
    const sizes = [[0], [1, 2, 3], [1_000_000, 7, 1_000_000], [65_536]];
    await Promise.all(
      sizes.map((lengths) => {
        const records = lengths.map((length) => ({ record: Buffer.alloc(length, 1), holders: ['aws'] }));
        return made.call({ type: 'put', records }, 1000);
      }),
    );
    expect(arrived).toEqual(sizes);
  });

  test('that is down says so at once', async () => {
    await stopListening();
    const made = link();
    await expect(made.call({ type: 'ping' }, 1000)).rejects.toBeInstanceOf(PeerUnreachable);
    await eventually('a word', () => (events.happened.includes('peerDown gcp') ? true : undefined));
  });

  test('gives up a call after its time, and goes on', async () => {
    answer = (request) =>
      request.type === 'ping' ? Promise.resolve({ type: 'pong', wallMs: 0 }) : new Promise(() => undefined);
    const made = link();
    await up(made);
    const call = made.call({ type: 'pull', references: [] }, 500);
    const outcome = expect(call).rejects.toThrow('no answer from gcp within 500 ms');
    await clock.advance(500);
    await outcome;
    expect(made.isUp()).toBe(true);
  });

  test('fails its calls when it breaks, and comes back', async () => {
    answer = (request) =>
      request.type === 'ping' ? Promise.resolve({ type: 'pong', wallMs: 0 }) : new Promise(() => undefined);
    const made = link();
    await up(made);
    const outcome = expect(made.call({ type: 'pull', references: [] }, 60_000)).rejects.toBeInstanceOf(
      PeerUnreachable,
    );
    for (const socket of sockets) socket.destroy();
    await outcome;
    await eventually('a word', () => (events.happened.includes('peerDown gcp') ? true : undefined));
    await up(made);
    expect(events.happened).toEqual(['peerUp gcp', 'peerDown gcp', 'peerUp gcp']);
  });

  test('notices a peer that is stopped and holds its connections, and comes back', async () => {
    const made = link();
    await up(made);
    // As after SIGSTOP: the kernel still takes bytes, and nobody reads them.
    const [stopped] = sockets;
    answer = () => new Promise(() => undefined);
    await eventually('silence', async () => {
      await clock.advance(500);
      return events.happened.includes('peerDown gcp') ? true : undefined;
    });
    expect(clock.monotonicMs()).toBeLessThanOrEqual(10_000);
    answer = () => Promise.resolve({ type: 'pong', wallMs: 0 });
    await up(made);
    expect(stopped?.destroyed).toBe(true);
  });

  test('outlives a restart of the other side', async () => {
    const made = link();
    await up(made);
    const before = port;
    await stopListening();
    await eventually('a word', () => (events.happened.includes('peerDown gcp') ? true : undefined));
    await listen('gcp', before);
    await up(made);
    expect(await made.call({ type: 'ping' }, 1000)).toMatchObject({ type: 'pong' });
  });

  test('that is closed leaves no timer and no connection', async () => {
    const made = link();
    await up(made);
    await made.close();
    await eventually('no connection', () => (sockets.size === 0 ? true : undefined));
    expect(clock.pending()).toBe(0);
  });
});

describe('not believed is', () => {
  test('a caller with a key that the manifest does not list', async () => {
    const made = link('stranger');
    await eventually('a name for it', () =>
      listenerEvents.happened.includes('turnedAway peer_key_unknown') ? true : undefined,
    );
    await eventually('the end', () => (events.happened.includes('peerDown gcp') ? true : undefined));
    expect(made.isUp()).toBe(false);
  });

  test("a caller with this site's own key", async () => {
    link('gcp');
    await eventually('a name for it', () =>
      listenerEvents.happened.includes('turnedAway peer_key_unknown') ? true : undefined,
    );
  });

  test('a caller without a key', async () => {
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false });
    socket.on('error', () => undefined).resume();
    await socketClosed(socket);
    expect(listenerEvents.happened).toEqual(['turnedAway peer_key_unknown']);
  });

  test('a listener with a key that the manifest does not list', async () => {
    await stopListening();
    await listen('stranger');
    const asked: string[] = [];
    answer = (request) => {
      asked.push(request.type);
      return Promise.resolve({ type: 'done' });
    };
    const made = link();
    await eventually('a word', () => (events.happened.includes('peerDown gcp') ? true : undefined));
    expect(made.isUp()).toBe(false);
    expect(asked).toEqual([]);
  });
});

describe('a connection ends', () => {
  test.each([
    ['by a frame that claims to be too long', encodeLength(FRAME_BYTES_MAX + 1)],
    ['by a frame that claims to be too short', encodeLength(4)],
    ['by a frame of no known type', Buffer.concat([encodeLength(5), Buffer.of(99, 0, 0, 0, 1)])],
    ['by a reply that nobody asked for', encodePeerFrame(1, { type: 'done' })],
  ])('%s', async (_, bytes) => {
    const socket = await byHand();
    socket.write(bytes);
    await socketClosed(socket);
  });

  test('by a listener that asks instead of answering', async () => {
    answer = (request) =>
      Promise.resolve(
        request.type === 'ping' ? ({ type: 'ping' } as unknown as PeerReply) : { type: 'done' },
      );
    link();
    await eventually('the end', () => (events.happened.includes('peerDown gcp') ? true : undefined));
  });

  test('by a request that fails in a way nobody foresaw, which is told', async () => {
    answer = () => Promise.reject(new TypeError('a bug'));
    const socket = await byHand();
    socket.write(encodePeerFrame(1, { type: 'ping' }));
    await socketClosed(socket);
    expect(listenerEvents.happened).toEqual(['failed peer request TypeError: a bug']);
  });

  test('by a handshake that does not end', async () => {
    await stopListening();
    await listen('gcp', 0, { handshakeTimeoutMs: 100 });
    const socket = await stallHandshake(port, 'peer.gcp.relay.test');
    await socketClosed(socket);
    expect(listenerEvents.happened).toEqual(['turnedAway tls_failed']);
  });

  test('by a peer that asks and does not read the answers', async () => {
    const record = Buffer.alloc(1024 * 1024);
    answer = () => Promise.resolve({ type: 'records', served: 1, messages: [record], acks: [] });
    const socket = await byHand();
    socket.pause();
    const [accepted] = sockets;
    if (accepted === undefined) throw new Error('no connection');
    for (let call = 1; call <= 100; call += 1) socket.write(encodePeerFrame(call, { type: 'ping' }));
    await socketClosed(accepted);
    socket.destroy();
  });
});

test('more requests at once than allowed are refused by name, and the rest goes on', async () => {
  const gate = Promise.withResolvers<PeerReply>();
  answer = () => gate.promise;
  const socket = await byHand();
  const received: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => received.push(chunk));
  for (let call = 1; call <= 257; call += 1) socket.write(encodePeerFrame(call, { type: 'ping' }));
  const refusal = encodePeerFrame(257, { type: 'refused', reason: 'overloaded' });
  await eventually('a refusal', () => (Buffer.concat(received).equals(refusal) ? true : undefined));
  expect(listenerEvents.happened).toEqual(['peerRefused aws overloaded']);
  gate.resolve({ type: 'done' });
  await eventually('the answers', () =>
    Buffer.concat(received).length === refusal.length + 256 * 9 ? true : undefined,
  );
  socket.destroy();
});

function encodeLength(length: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(length);
  return bytes;
}
