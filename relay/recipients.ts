/**
 * The recipients that are connected to this relay, found by mailbox when something happens to it.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import { RecipientConnection, type RecipientConnectionDeps } from './adapters/recipient-connection.ts';
import { CLIENT_FRAME_BYTES_MAX, SUBPROTOCOL } from './core/frame.ts';
import type { MailboxTag } from './core/mailbox.ts';
import type { Message } from './core/message.ts';

export interface RecipientsDeps extends Omit<RecipientConnectionDeps, 'onOpen' | 'onClose'> {
  readonly connectionsMax: number;
}

export interface Recipients {
  /** Takes over an upgrade request for `/v1/ws`. */
  readonly upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
  /** Hands a message that is not stored to a recipient that is connected here; true when one took it. */
  deliverNow(message: Message): boolean;
  readonly count: () => number;
  /** Beats and time limits, until `stopped`. */
  readonly run: (stopped: AbortSignal) => Promise<void>;
  /** Tells every recipient to go elsewhere and closes. */
  drain(): void;
}

const TICK_MS = 500;

export function createRecipients(deps: RecipientsDeps): Recipients {
  const connections = new Set<RecipientConnection>();
  const byMailbox = new Map<MailboxTag, Set<RecipientConnection>>();
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    // Twice the limit: what is between is closed with the protocol's own code, what is larger is not even read.
    maxPayload: 2 * CLIENT_FRAME_BYTES_MAX,
    perMessageDeflate: false,
    handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
  });
  const connectionDeps: RecipientConnectionDeps = {
    ...deps,
    onOpen: (connection, tags) => {
      for (const tag of tags) {
        const listeners = byMailbox.get(tag) ?? new Set<RecipientConnection>();
        byMailbox.set(tag, listeners.add(connection));
      }
    },
    onClose: (connection, tags) => {
      connections.delete(connection);
      for (const tag of tags) {
        const listeners = byMailbox.get(tag);
        listeners?.delete(connection);
        if (listeners?.size === 0) byMailbox.delete(tag);
      }
    },
  };
  deps.store.onChange((tag) => {
    for (const connection of byMailbox.get(tag) ?? []) connection.handle({ type: 'changed', tag });
  });

  return {
    upgrade: (request, socket, head) => {
      socket.on('error', () => socket.destroy());
      const isOurs = request.url?.split('?')[0] === '/v1/ws';
      if (!isOurs || connections.size >= deps.connectionsMax) {
        deps.events.refused(isOurs ? 'overloaded' : 'not_found');
        const status = isOurs ? '503 Service Unavailable\r\nRetry-After: 2' : '404 Not Found';
        socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
        return;
      }
      server.handleUpgrade(request, socket, head, (webSocket) => {
        connections.add(new RecipientConnection(webSocket, connectionDeps));
      });
    },
    deliverNow: (message) => {
      for (const connection of byMailbox.get(message.mailbox) ?? []) {
        const actions = connection.handle({ type: 'transient', message });
        if (actions.some(({ type }) => type === 'delivered')) return true;
      }
      return false;
    },
    count: () => connections.size,
    run: async (stopped) => {
      while (!stopped.aborted) {
        for (const connection of connections) connection.handle({ type: 'tick' });
        await deps.clock.sleep(TICK_MS, stopped).catch(() => undefined);
      }
    },
    drain: () => {
      for (const connection of connections) connection.handle({ type: 'draining' });
    },
  };
}
