/**
 * The link to one other site: a persistent TLS connection with pinned keys both ways, many calls in flight, a
 * heartbeat that notices a silent peer, and reconnection for ever. Nothing is queued while it is down: a caller
 * hears so at once and uses another provider.
 */
import type { Duplex } from 'node:stream';
import { backoffMs } from '../../system/backoff.ts';
import type { Clock } from '../../system/clock.ts';
import { describeError } from '../../system/log.ts';
import type { PinnedDestination, PinnedIdentity } from '../../system/pinned-tls.ts';
import type { Random } from '../../system/random.ts';
import { encodePeerFrame, type PeerReply, type PeerRequest } from '../core/peer-frame.ts';
import type { RelayEvents } from '../events.ts';
import { type PeerLink, PeerUnreachable } from '../ports.ts';
import { readPeerFrames, writePeerFrames } from './peer-socket.ts';

/** Opens a connection on which the other side has proved one of the pinned keys; rejects after `timeoutMs`. */
export type ConnectPeer = (
  destination: PinnedDestination,
  identity: PinnedIdentity,
  timeoutMs: number,
) => Promise<Duplex>;

export interface PeerLinkOptions {
  readonly site: string;
  readonly provider: string;
  /** The site's relays as they are listed now; they are tried in turn. */
  readonly destinations: () => readonly PinnedDestination[];
  readonly identity: PinnedIdentity;
  readonly connect: ConnectPeer;
  readonly clock: Clock;
  readonly random: Random;
  readonly events: RelayEvents;
  /** Called at each heartbeat: the other side's wall clock was `wallMs` when our monotonic clock was `atMs`. */
  readonly onTime: (wallMs: number, atMs: number) => void;
}

export interface RunningPeerLink extends PeerLink {
  /** The destinations are others: ends a connection to one, or with a key, that is no longer listed. */
  recheck(): void;
  close(): Promise<void>;
}

const CONNECT_TIMEOUT_MS = 2000;
const HEARTBEAT_MS = 1000;
const HEARTBEAT_TIMEOUT_MS = 2000;
/** Bytes that may wait in the socket before callers are told that the peer is too slow. */
const WAITING_BYTES_MAX: number = 16 * 1024 * 1024;
const RECONNECT = { baseMs: 100, maxMs: 2000 } as const;

interface Call {
  readonly resolve: (reply: PeerReply) => void;
  readonly reject: (error: Error) => void;
  readonly cancelTimeout: () => void;
}

/** A link that connects at once and again whenever it is lost, with back-off. */
export function createPeerLink(options: PeerLinkOptions): RunningPeerLink {
  const { clock, events, site } = options;
  const closing = new AbortController();
  let connection: Connection | undefined;
  let connectedTo: PinnedDestination | undefined;

  const call = (request: PeerRequest, timeoutMs: number): Promise<PeerReply> =>
    connection === undefined
      ? Promise.reject(new PeerUnreachable(`no link to ${site}`))
      : connection.call(request, timeoutMs);

  const beat = async (current: Connection): Promise<void> => {
    while (!current.ended.aborted) {
      const startedMs = clock.monotonicMs();
      const reply = await current.call({ type: 'ping' }, HEARTBEAT_TIMEOUT_MS);
      const halfWayMs = (clock.monotonicMs() + startedMs) / 2;
      if (reply.type === 'pong') options.onTime(reply.wallMs, halfWayMs);
      await clock.sleep(HEARTBEAT_MS, current.ended);
    }
  };

  const run = async (): Promise<void> => {
    let failures = 0;
    for (let attempt = 0; !closing.signal.aborted; attempt += 1) {
      const destinations = options.destinations();
      const destination = destinations[attempt % destinations.length];
      if (destination === undefined) return;
      let reason: string;
      try {
        const socket = await options.connect(destination, options.identity, CONNECT_TIMEOUT_MS);
        const current = openConnection(socket, clock, site);
        if (closing.signal.aborted) current.end('closing');
        connection = current;
        connectedTo = destination;
        failures = 0;
        events.peerUp(site);
        reason = await beat(current).then(
          () => 'ended',
          (error: unknown) => describeError(error),
        );
        current.end(reason);
        connection = undefined;
        if (!closing.signal.aborted) events.peerDown(site, reason);
      } catch (error) {
        failures += 1;
        // The first failure of a row is worth a line; the rest would only repeat it.
        if (failures === 1 && !closing.signal.aborted) events.peerDown(site, describeError(error));
      }
      const waitMs = backoffMs(Math.max(1, failures), options.random.fraction(), RECONNECT);
      await clock.sleep(waitMs, closing.signal).catch(() => undefined);
    }
  };
  const running = run();

  return {
    site,
    provider: options.provider,
    isUp: () => connection !== undefined,
    call,
    recheck: () => {
      const isListed = options
        .destinations()
        .some((one) => connectedTo !== undefined && covers(one, connectedTo));
      if (!isListed) connection?.end('no longer listed');
    },
    close: async () => {
      closing.abort(new Error('closing'));
      connection?.end('closing');
      await running;
    },
  };
}

/** Whether `now` lists everything that a connection to `then` may have proved. */
function covers(now: PinnedDestination, then: PinnedDestination): boolean {
  return now.host === then.host && now.port === then.port && then.pins.every((pin) => now.pins.includes(pin));
}

interface Connection {
  readonly ended: AbortSignal;
  call(request: PeerRequest, timeoutMs: number): Promise<PeerReply>;
  end(reason: string): void;
}

function openConnection(socket: Duplex, clock: Clock, site: string): Connection {
  const calls = new Map<number, Call>();
  const write = writePeerFrames(socket);
  const ending = new AbortController();
  let lastCall = 0;

  const end = (reason: string): void => {
    if (ending.signal.aborted) return;
    ending.abort(new PeerUnreachable(`link to ${site} ended: ${reason}`));
    socket.destroy();
    for (const { reject, cancelTimeout } of calls.values()) {
      cancelTimeout();
      reject(new PeerUnreachable(`link to ${site} ended: ${reason}`));
    }
    calls.clear();
  };

  socket.on('error', (error) => end(describeError(error)));
  socket.on('close', () => end('closed by the other side'));
  readPeerFrames(socket, ({ call, body }) => {
    const waiting = calls.get(call);
    // An answer after its timeout: the caller has gone on.
    if (waiting === undefined) return true;
    if (!isReply(body)) return false;
    calls.delete(call);
    waiting.cancelTimeout();
    waiting.resolve(body);
    return true;
  });

  return {
    ended: ending.signal,
    end,
    call: (request, timeoutMs) => {
      if (ending.signal.aborted) return Promise.reject(new PeerUnreachable(`no link to ${site}`));
      if (socket.writableLength > WAITING_BYTES_MAX) {
        return Promise.reject(new PeerUnreachable(`${site} does not read as fast as this site writes`));
      }
      lastCall = (lastCall + 1) % 0xffff_ffff;
      const number = lastCall;
      const { promise, resolve, reject } = Promise.withResolvers<PeerReply>();
      const cancelTimeout = clock.after(timeoutMs, () => {
        calls.delete(number);
        reject(new PeerUnreachable(`no answer from ${site} within ${timeoutMs} ms`));
      });
      calls.set(number, { resolve, reject, cancelTimeout });
      write(encodePeerFrame(number, request));
      return promise;
    },
  };
}

function isReply(body: PeerRequest | PeerReply): body is PeerReply {
  switch (body.type) {
    case 'outcomes':
    case 'done':
    case 'page':
    case 'records':
    case 'totalled':
    case 'digested':
    case 'tombstones':
    case 'pong':
    case 'refused':
      return true;
    case 'put':
    case 'bury':
    case 'held':
    case 'list':
    case 'pull':
    case 'buried':
    case 'totals':
    case 'digests':
    case 'waiting':
    case 'ping':
      return false;
  }
}
