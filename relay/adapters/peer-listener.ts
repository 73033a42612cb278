/**
 * The other end of the peer links: a TLS server behind the front door that believes only keys which the manifest
 * lists, and answers each request when it is done, in whatever order that is.
 */
import type { Duplex } from 'node:stream';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import type { SiteEntry, SiteName } from '../../fleet/manifest/manifest.ts';
import { describeError } from '../../system/log.ts';
import { type PinnedIdentity, peerPin, pinnedServerOptions } from '../../system/pinned-tls.ts';
import { encodePeerFrame, type PeerReply, type PeerRequest } from '../core/peer-frame.ts';
import type { RelayEvents } from '../events.ts';
import type { PeerService } from '../replication/peer-service.ts';
import { readPeerFrames, writePeerFrames } from './peer-socket.ts';

export interface PeerListenerOptions {
  readonly own: SiteName;
  /** Of the manifest in force. */
  readonly sites: readonly SiteEntry[];
  readonly identity: PinnedIdentity;
  readonly service: PeerService;
  /** How long a TLS handshake may take, milliseconds; 5000 by default. */
  readonly handshakeTimeoutMs?: number;
  readonly events: RelayEvents;
}

/** Requests of one connection that may be under way; more are refused by name. */
const REQUESTS_MAX = 256;
/** A peer pings every second: one that is silent for this long is gone, milliseconds. */
const IDLE_MS = 15_000;
const HANDSHAKE_TIMEOUT_MS = 5000;
/** Bytes of answers that may wait for a peer; one that asks and does not read is cut. */
const WAITING_BYTES_MAX: number = 16 * 1024 * 1024;

/** A TLS server that does not listen; the front door hands it connections. */
export function createPeerListener(options: PeerListenerOptions): Server {
  const server = createServer({
    ...pinnedServerOptions(options.identity),
    handshakeTimeout: options.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS,
  });
  // A handshake that failed or took too long is only reported here; the connection would stay.
  server.on('tlsClientError', (_, socket) => {
    options.events.turnedAway('tls_failed');
    socket.destroy();
  });
  server.on('secureConnection', (socket: TLSSocket) => {
    socket.on('error', () => socket.destroy());
    const pin = peerPin(socket);
    // The list changes with the manifest: whoever is no longer on it is served no more.
    const siteNow = (): SiteEntry | undefined =>
      options.sites.find(
        ({ name, relay }) => name !== options.own && pin !== undefined && relay.pins.includes(pin),
      );
    const site = siteNow();
    if (site === undefined) {
      options.events.turnedAway('peer_key_unknown');
      socket.destroy();
      return;
    }
    socket.setNoDelay(true);
    socket.setTimeout(IDLE_MS, () => socket.destroy());
    const isWelcome = (): boolean => siteNow()?.name === site.name;
    servePeer(socket, site.name, { ...options, isWelcome });
  });
  return server;
}

/** Answers the requests of a connection on which `from` has proved its key. */
export function servePeer(
  socket: Duplex,
  from: SiteName,
  options: Pick<PeerListenerOptions, 'service' | 'events'> & {
    /** Whether the manifest in force still lists who is there; absent: always. */
    readonly isWelcome?: () => boolean;
  },
): void {
  let underWay = 0;
  const write = writePeerFrames(socket);
  const answer = (call: number, reply: PeerReply): void => {
    if (socket.destroyed) return;
    write(encodePeerFrame(call, reply));
    if (socket.writableLength > WAITING_BYTES_MAX) socket.destroy(new Error('the peer does not read'));
  };
  const handle = async (call: number, request: PeerRequest): Promise<void> => {
    underWay += 1;
    try {
      answer(call, await options.service(request, from));
    } catch (error) {
      options.events.failed('peer request', describeError(error));
      socket.destroy();
    } finally {
      underWay -= 1;
    }
  };
  readPeerFrames(socket, ({ call, body }) => {
    if (options.isWelcome?.() === false) {
      options.events.turnedAway('peer_key_unknown');
      return false;
    }
    switch (body.type) {
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
        if (underWay < REQUESTS_MAX) void handle(call, body);
        else {
          options.events.peerRefused(from, 'overloaded');
          answer(call, { type: 'refused', reason: 'overloaded' });
        }
        return true;
      case 'outcomes':
      case 'done':
      case 'page':
      case 'records':
      case 'totalled':
      case 'digested':
      case 'tombstones':
      case 'pong':
      case 'refused':
        return false;
    }
  });
}
