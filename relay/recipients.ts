/**
 * The recipients that are connected to this relay, found by mailbox when something happens to it.
 */
import { type IncomingMessage, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import type { Clock } from '../system/clock.ts';
import {
  RecipientConnection,
  type RecipientConnectionDeps,
  type RecipientSocket,
} from './adapters/recipient-connection.ts';
import { drainWindowMs, leaveAfterMs } from './core/drain.ts';
import { CLIENT_FRAME_BYTES_MAX, SUBPROTOCOL } from './core/frame.ts';
import type { MailboxTag } from './core/mailbox.ts';
import type { Message } from './core/message.ts';
import { REFUSALS, type Refusal } from './core/refusal.ts';
import { type SessionEvent, TICK_MS } from './core/session.ts';
import type { Failures } from './failures.ts';
import { isAmbiguous } from './http/target.ts';
import { createMailboxListeners } from './mailbox-listeners.ts';

const TICK: SessionEvent = { type: 'tick' };
/** Parts of one frame, as its sender made them and as the network brings them: each costs a hundred bytes besides its own. */
export const FRAGMENTS_MAX = 64;
export const PIECES_MAX = 1024;

export interface RecipientsDeps extends Omit<RecipientConnectionDeps, 'onOpen' | 'onClose'> {
  /** Whether one more recipient may be connected, or wait in a long-poll. */
  readonly hasRoom: () => boolean;
  /** Called with the mailboxes of a recipient that has just shown that they are its own. */
  readonly arrived: (mailboxes: readonly MailboxTag[]) => void;
  /** Whether the relay has so much to do that recipients should go elsewhere. */
  readonly isBusy: () => boolean;
  readonly failures: Pick<Failures, 'note' | 'isUnwelcome'>;
}

export interface Recipients {
  /** Takes over an upgrade request: see `asksForSocket`. */
  readonly upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
  /** Welcomes a recipient on a socket that is open. */
  readonly welcome: (socket: RecipientSocket) => void;
  /** Hands a message that is not stored to a recipient that is connected here; true when one took it. */
  deliverNow(message: Message): boolean;
  readonly count: () => number;
  /** Whether the owner of a mailbox is connected here. */
  readonly isConnected: (mailbox: MailboxTag) => boolean;
  /** Beats and time limits, until `stopped`. */
  readonly run: (stopped: AbortSignal) => Promise<void>;
  /**
   * Takes no recipient any more, tells each when to leave and where to (`alternates`, origins), and resolves when all
   * of them were closed, over at most `windowMsMax` milliseconds.
   */
  drain(windowMsMax: number, alternates: readonly string[]): Promise<void>;
  /** The same for those who are connected now, while others may come. */
  sendAway(windowMsMax: number, alternates: readonly string[]): Promise<void>;
}

/** No recipient yet; `upgrade` takes over a socket that asked for `relay.v1` (RFC 6455). */
export function createRecipients(deps: RecipientsDeps): Recipients {
  const connections = new Set<RecipientConnection>();
  let isDraining = false;
  const listeners = createMailboxListeners<RecipientConnection>();
  const server = createWebSocketServer();
  // A handshake that is none (RFC 6455 §4.2.1).
  server.on('wsClientError', (_, socket) => {
    deps.events.refused('request_unreadable');
    refuseUpgrade(socket, 'request_unreadable');
  });
  const connectionDeps: RecipientConnectionDeps = {
    ...deps,
    onOpen: (connection, tags) => {
      deps.arrived(tags);
      for (const tag of tags) listeners.add(tag, connection);
    },
    onClose: (connection, tags, reason) => {
      connections.delete(connection);
      if (reason === 'unauthorised') deps.failures.note(connection.address, undefined);
      for (const tag of tags) listeners.remove(tag, connection);
    },
  };
  deps.store.onChange(
    (tag, what) => {
      for (const connection of listeners.of(tag)) connection.changed(tag, what);
    },
    (tag) => listeners.has(tag),
  );

  const refusalOf = (request: IncomingMessage): Refusal | undefined => {
    if (isAmbiguous(request)) return 'host_ambiguous';
    if (isDraining) return 'draining';
    const isFull = !deps.hasRoom() || deps.isBusy();
    return isFull || deps.failures.isUnwelcome(request.socket.remoteAddress) ? 'overloaded' : undefined;
  };

  const welcome = (socket: RecipientSocket, request?: IncomingMessage): void => {
    const below = request?.socket;
    connections.add(new RecipientConnection(socket, connectionDeps, below?.remoteAddress, below));
  };

  return {
    upgrade: (request, socket, head) => {
      socket.on('error', destroyThis);
      const refusal = refusalOf(request);
      if (refusal !== undefined) {
        deps.events.refused(refusal);
        refuseUpgrade(socket, refusal);
        return;
      }
      server.handleUpgrade(request, socket, head, welcome);
    },
    welcome,
    deliverNow: (message) => [...listeners.of(message.mailbox)].some(takes(message)),
    count: () => connections.size,
    isConnected: (mailbox) => listeners.has(mailbox),
    run: async (stopped) => {
      while (!stopped.aborted) {
        for (const connection of connections) connection.handle(TICK);
        await deps.clock.sleep(TICK_MS, stopped).catch(() => undefined);
      }
    },
    drain: async (windowMsMax, alternates) => {
      isDraining = true;
      await sendAway(connections, deps.clock, windowMsMax, alternates);
    },
    sendAway: (windowMsMax, alternates) => sendAway(connections, deps.clock, windowMsMax, alternates),
  };
}

/** One listener for all sockets. */
function destroyThis(this: Duplex): void {
  this.destroy();
}

/** Whether a recipient takes a message that goes out now or never. */
function takes(message: Message): (connection: RecipientConnection) => boolean {
  return (connection) =>
    connection.handle({ type: 'transient', message }).some(({ type }) => type === 'delivered');
}

function createWebSocketServer(): WebSocketServer {
  return new WebSocketServer({
    noServer: true,
    clientTracking: false,
    // Twice the limit: what is between is closed with the protocol's own code, what is larger is not even read.
    maxPayload: 2 * CLIENT_FRAME_BYTES_MAX,
    maxFragments: FRAGMENTS_MAX,
    maxBufferedChunks: PIECES_MAX,
    perMessageDeflate: false,
    handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
  });
}

/** Tells each connection its time at once, and closes it when that has come. */
async function sendAway(
  connections: ReadonlySet<RecipientConnection>,
  clock: Clock,
  windowMsMax: number,
  alternates: readonly string[],
): Promise<void> {
  const leaving = [...connections];
  const windowMs = drainWindowMs(leaving.length, windowMsMax);
  for (const [place, connection] of leaving.entries()) {
    const withinMs = leaveAfterMs(place, leaving.length, windowMs);
    connection.handle({ type: 'draining', withinMs, alternates });
  }
  const toldMs = clock.monotonicMs();
  for (const [place, connection] of leaving.entries()) {
    const dueMs = toldMs + leaveAfterMs(place, leaving.length, windowMs);
    // A timer may fire a little early; the session goes by the clock.
    for (let leftMs = 1; connections.has(connection) && leftMs > 0; ) {
      leftMs = dueMs - clock.monotonicMs();
      if (leftMs > 0) await clock.sleep(Math.ceil(leftMs));
    }
    connection.handle(TICK);
  }
}

function refuseUpgrade(socket: Duplex, refusal: Refusal): void {
  const { status, retryAfterSeconds } = REFUSALS[refusal];
  const retryAfter = retryAfterSeconds === undefined ? '' : `Retry-After: ${retryAfterSeconds}\r\n`;
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${retryAfter}Connection: close\r\nContent-Length: 0\r\n\r\n`,
  );
}
