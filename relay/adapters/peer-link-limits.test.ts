/** Links between relays at their limits: the longest frame, and a peer that does not read. */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { afterEach, expect, test } from 'vitest';
import { makePinnedIdentity } from '../../fleet/certificates.ts';
import { systemClock } from '../../system/clock.ts';
import { connectPinned, pinnedServerOptions, pinOf } from '../../system/pinned-tls.ts';
import { systemRandom } from '../../system/random.ts';
import { eventually } from '../../test/support/eventually.ts';
import { createFakeClock } from '../../test/support/fake-clock.ts';
import { createRecordedEvents } from '../../test/support/recorded-events.ts';
import { encodePeerFrame, FRAME_BYTES_MAX, type PeerRequest } from '../core/peer-frame.ts';
import { createPeerLink, type RunningPeerLink } from './peer-link.ts';
import { servePeer } from './peer-listener.ts';

const PATIENCE_MS = 60_000;
const identity = await makePinnedIdentity({ wallMs: systemClock.wallMs(), random: systemRandom }, 'gcp');
const sockets = new Set<TLSSocket>();
let server: Server;
let link: RunningPeerLink;

/** A link, on a clock that stands still, to a server that does this with its connections. */
async function linkTo(serve: (socket: TLSSocket) => void): Promise<void> {
  server = createServer(pinnedServerOptions(identity), (socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    serve(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const pins = [pinOf(identity.publicKeySpki)];
  link = createPeerLink({
    site: 'gcp',
    provider: 'gcp',
    destinations: () => [{ host: '127.0.0.1', port, serverName: 'peer.gcp.relay.test', pins }],
    identity,
    connect: connectPinned,
    clock: createFakeClock(),
    random: systemRandom,
    events: createRecordedEvents(),
    onTime: () => undefined,
  });
  await eventually('the link', () => (link.isUp() ? true : undefined));
}

afterEach(async () => {
  const closed = once(server, 'close');
  server.close();
  for (const socket of sockets) socket.destroy();
  await Promise.all([closed, link.close()]);
  sockets.clear();
});

function putOf(length: number): PeerRequest {
  return { type: 'put', records: [{ record: Buffer.alloc(length, 1), holders: [] }] };
}

test('a frame of the greatest length arrives, and nobody hears of a longer one', async () => {
  const arrived: number[] = [];
  await linkTo((socket) =>
    servePeer(socket, 'aws', {
      service: async (request) => {
        if (request.type === 'put') arrived.push(...request.records.map(({ record }) => record.length));
        return request.type === 'ping' ? { type: 'pong', wallMs: 0 } : { type: 'done' };
      },
      events: createRecordedEvents(),
    }),
  );
  // What stands around the record, behind the length of the frame.
  const longest = FRAME_BYTES_MAX - (encodePeerFrame(1, putOf(0)).length - 4);
  expect(await link.call(putOf(longest), PATIENCE_MS)).toEqual({ type: 'done' });
  await expect(link.call(putOf(longest + 1), PATIENCE_MS)).rejects.toThrow(/ended/);
  expect(arrived).toEqual([longest]);
});

test('a caller hears at once that the peer does not read, and only so much is kept for it', async () => {
  await linkTo(() => undefined);
  const calls: Promise<string>[] = [];
  let answer = '';
  while (answer === '' && calls.length < 100) {
    calls.push(link.call(putOf(1024 * 1024), PATIENCE_MS).then(() => 'done', String));
    answer = await Promise.race([...calls, turn().then(() => '')]);
  }
  expect(answer).toContain('does not read as fast');
  // The kernel takes some, and the link 16 of them.
  expect(calls.length).toBeGreaterThan(16);
  for (const socket of sockets) socket.destroy();
  await Promise.all(calls);
});
