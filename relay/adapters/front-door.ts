/**
 * One port for clients and peers. Clients must not be asked for a certificate (browsers would show a dialogue),
 * peers must; a TLS server asks everybody or nobody. So the front door reads the name in the ClientHello
 * (RFC 6066 §3) and hands the untouched connection to the server it is meant for.
 */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import type { Server as TlsServer } from 'node:tls';
import { readServerName } from '../core/client-hello.ts';
import type { RelayEvents, TurnedAway } from '../events.ts';

/** What serves clients. */
interface ClientEntrance {
  readonly take: (socket: Socket) => void;
  /** Cuts the connections on which no request is under way. */
  readonly closeIdleConnections: () => void;
  readonly closeAllConnections: () => void;
}

export interface FrontDoorOptions {
  /** The name that leads to `peers`; every other name leads to `clients`. */
  readonly peerServerName: string;
  readonly clients: ClientEntrance;
  readonly peers: TlsServer;
  /** Of clients. */
  readonly connectionsMax: number;
  /** How long a connection may take to send its ClientHello, milliseconds; 5000 by default. */
  readonly helloWithinMs?: number;
  readonly events: RelayEvents;
}

export interface FrontDoor {
  /** The server to listen with. */
  readonly server: Server;
  /** Takes nothing new, lets requests finish for at most `graceMs` milliseconds, then cuts what is left. */
  close(graceMs: number): Promise<void>;
}

export const CLIENT_HELLO_WITHIN_MS = 5000;
/**
 * Connections beyond those of clients: peers, and those who have not said yet what they are. A site that is full of
 * clients must stay in touch with the others, or nobody could accept anything.
 */
export const BEYOND_CLIENTS_MAX = 256;
const CLOSE_IDLE_EVERY_MS = 50;
/** The largest ClientHello that is waited for, bytes. */
const HELLO_BYTES_MAX = 16_384;

/**
 * The public listener, not listening yet: HTTPS, WebSocket upgrades, and peers by their server name (RFC 6066 §3).
 */
export function createFrontDoor(options: FrontDoorOptions): FrontDoor {
  const { clients, events } = options;
  const sockets = new Set<Socket>();
  const clientSockets = new Set<Socket>();
  /** Connections whose name is not known yet, and what ends the wait. */
  const waiting = new Map<Socket, () => void>();
  const server = createServer({ noDelay: true }, (socket) => {
    if (sockets.size >= options.connectionsMax + BEYOND_CLIENTS_MAX) {
      events.turnedAway('too_many_connections');
      socket.destroy();
      return;
    }
    sockets.add(socket);
    // The only listener of this side that stays: what waits for the name must not live as long as the connection.
    socket.on('close', () => {
      sockets.delete(socket);
      clientSockets.delete(socket);
      waiting.get(socket)?.();
    });
    waiting.set(socket, route(socket, options, clientSockets, waiting));
  });
  return {
    server,
    close: async (graceMs) => {
      const closed = Promise.withResolvers<void>();
      server.close(() => closed.resolve());
      const cut = (): void => {
        clients.closeAllConnections();
        for (const socket of sockets) socket.destroy();
      };
      const timer = setTimeout(cut, graceMs);
      // A connection that is kept alive goes as soon as its request is answered.
      clients.closeIdleConnections();
      const idling = setInterval(() => clients.closeIdleConnections(), CLOSE_IDLE_EVERY_MS);
      await Promise.all([...clientSockets].map((socket) => once(socket, 'close')));
      clearTimeout(timer);
      clearInterval(idling);
      cut();
      await closed.promise;
    },
  };
}

/** Hands the connection on once its name is known; the returned function stops waiting for it. */
function route(
  socket: Socket,
  options: FrontDoorOptions,
  clientSockets: Set<Socket>,
  waiting: Map<Socket, () => void>,
): () => void {
  let seen: Buffer = Buffer.alloc(0);
  const turnAway = (reason: TurnedAway): void => {
    options.events.turnedAway(reason);
    socket.destroy();
  };
  const onError = (): void => {
    socket.destroy();
  };
  const onReadable = (): void => {
    const chunk: unknown = socket.read();
    if (!Buffer.isBuffer(chunk)) return;
    seen = Buffer.concat([seen, chunk]);
    const hello = readServerName(seen);
    if (hello.state === 'incomplete' && seen.length < HELLO_BYTES_MAX) return;
    if (hello.state !== 'complete') {
      turnAway('no_client_hello');
      return;
    }
    stopWaiting();
    socket.unshift(seen);
    const isPeer = hello.serverName === options.peerServerName;
    if (isPeer) options.peers.emit('connection', socket);
    else if (clientSockets.size >= options.connectionsMax) turnAway('too_many_connections');
    else {
      clientSockets.add(socket);
      options.clients.take(socket);
    }
  };
  const timer = setTimeout(() => turnAway('hello_timeout'), options.helloWithinMs ?? CLIENT_HELLO_WITHIN_MS);
  const stopWaiting = (): void => {
    waiting.delete(socket);
    clearTimeout(timer);
    socket.off('readable', onReadable).off('error', onError);
  };
  socket.on('error', onError).on('readable', onReadable);
  return stopWaiting;
}
