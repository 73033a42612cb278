/**
 * The port at which the fleet talks to this vantage: HTTPS over TLS 1.3 with the vantage's pinned key. Who shows a key
 * that the manifest lists is known by it; everybody else is a stranger, who may bring and fetch what carries a
 * signature of its own, within narrow limits.
 *
 * Bodies, headers, connections, rates and times are bounded, and each refusal has a name that the caller is told.
 */
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Clock } from '../../system/clock.ts';
import { type Pin, type PinnedIdentity, peerPin, pinnedServerOptions } from '../../system/pinned-tls.ts';
import type { Endpoint } from '../../system/settings.ts';
import { createTokenBuckets, type TokenBuckets } from '../../system/token-buckets.ts';
import { listenAt } from './listen.ts';

export const VOTE_PATH = '/v1/vote';
export const CHALLENGES_PATH = '/v1/acme-challenges';
export const MANIFEST_PATH = '/v1/manifest';
export const OVERRIDES_PATH = '/v1/overrides';
export const STATUS_PATH = '/v1/status';
export const DECISIONS_PATH = '/v1/decisions';

/** What is refused before anybody looks at what was brought. */
export const DOOR_REFUSALS = [
  'key_not_pinned',
  'route_unknown',
  'body_too_large',
  'body_incomplete',
  'too_fast',
  'too_many_connections',
  'failed',
] as const;
export type DoorRefusal = (typeof DOOR_REFUSALS)[number];

/** By the key that the connection proved. `person`: somebody on call, or the operators. */
export interface Caller {
  readonly kind: 'vantage' | 'relay' | 'person' | 'stranger';
  /** Of a site or a person; empty for strangers. */
  readonly name: string;
}

export interface FleetRequest {
  readonly caller: Caller;
  readonly headers: IncomingHttpHeaders;
  readonly query: URLSearchParams;
  readonly body: string;
}

export interface FleetReply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface Route {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly callers: readonly Caller['kind'][];
  /** Absent: no body is read. */
  readonly bodyBytesMax?: number;
  readonly answer: (request: FleetRequest) => FleetReply | Promise<FleetReply>;
}

export interface FleetPortOptions {
  readonly endpoint: Endpoint;
  readonly identity: PinnedIdentity;
  /** Whose key this is, by the manifest in force; undefined for nobody's. */
  readonly callerWith: (pin: Pin) => Caller | undefined;
  readonly routes: readonly Route[];
  readonly clock: Clock;
  readonly refused: (reason: DoorRefusal) => void;
}

const HANDSHAKE_MS = 3000;
const REQUEST_MS = 3000;
/** Longer than any pause between two votes, so that the sender never meets a connection that is just closing. */
const KEEP_ALIVE_MS = 120_000;
/** A stranger who is silent for so long is sent away. */
const STRANGER_IDLE_MS = 5000;
/** Each of up to 24 vantages needs one connection, and one more while it reconnects; relays poll. */
const CONNECTIONS_MAX = 256;
/** Of strangers. The oldest makes room, so that nobody keeps a push out by holding connections. */
const STRANGERS_MAX = 64;
/** Requests of strangers from one address. */
const STRANGER_RATE = { perSecond: 2, burst: 20, keysMax: 4096 } as const;
const STRANGER: Caller = { kind: 'stranger', name: '' };

/** Listens; rejects with a ListenError. Dispose of the result by closing it. */
export async function startFleetPort(
  options: FleetPortOptions,
): Promise<{ readonly port: number; close(): Promise<void> }> {
  const server = createServer({
    ...pinnedServerOptions(options.identity),
    handshakeTimeout: HANDSHAKE_MS,
    requestTimeout: REQUEST_MS,
    headersTimeout: REQUEST_MS,
    connectionsCheckingInterval: 1000,
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxHeaderSize: 4096,
  });
  server.maxConnections = CONNECTIONS_MAX;
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  limitStrangers(server, options);
  const rates = createTokenBuckets(STRANGER_RATE);
  server.on('request', (incoming, response) => void handle(incoming, response, rates, options));
  const port = await listenAt(server, 'votes and pushes', options.endpoint);
  server.on('error', () => undefined);
  return {
    port,
    close: async () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      server.close(() => resolve());
      for (const socket of sockets) socket.destroy();
      await promise;
    },
  };
}

function callerOn(socket: Socket, { callerWith }: FleetPortOptions): Caller {
  const pin = socket instanceof TLSSocket ? peerPin(socket) : undefined;
  return (pin === undefined ? undefined : callerWith(pin)) ?? STRANGER;
}

function limitStrangers(server: Server, options: FleetPortOptions): void {
  const strangers = new Set<Socket>();
  server.on('secureConnection', (socket) => {
    if (callerOn(socket, options).kind !== 'stranger') return;
    const [oldest] = strangers;
    if (strangers.size >= STRANGERS_MAX && oldest !== undefined) {
      options.refused('too_many_connections');
      oldest.destroy();
    }
    strangers.add(socket);
    socket.once('close', () => strangers.delete(socket));
    socket.setTimeout(STRANGER_IDLE_MS, () => socket.destroy());
  });
}

const STATUS_OF: Readonly<Record<DoorRefusal, number>> = {
  key_not_pinned: 403,
  route_unknown: 404,
  body_too_large: 413,
  body_incomplete: 400,
  too_fast: 429,
  too_many_connections: 503,
  failed: 500,
};

async function handle(
  incoming: IncomingMessage,
  response: ServerResponse,
  rates: TokenBuckets,
  options: FleetPortOptions,
): Promise<void> {
  const refuse = (reason: DoorRefusal): void => {
    options.refused(reason);
    incoming.resume();
    const reply = problem(STATUS_OF[reason], reason);
    send(response, { ...reply, headers: { ...reply.headers, connection: 'close' } });
  };
  const caller = callerOn(incoming.socket, options);
  const address = incoming.socket.remoteAddress ?? '';
  if (caller.kind === 'stranger' && !rates.take(address, options.clock.monotonicMs())) {
    refuse('too_fast');
    return;
  }
  const url = URL.parse(incoming.url ?? '', 'https://vantage');
  const route = options.routes.find(
    ({ method, path }) => method === incoming.method && path === url?.pathname,
  );
  if (route === undefined || url === null) refuse('route_unknown');
  else if (!route.callers.includes(caller.kind)) refuse('key_not_pinned');
  else {
    const body = await readBody(incoming, route.bodyBytesMax ?? 0);
    if (typeof body !== 'string') refuse(body.refusal);
    else {
      try {
        const { headers } = incoming;
        send(response, await route.answer({ caller, headers, query: url.searchParams, body }));
      } catch {
        refuse('failed');
      }
    }
  }
}

/** `application/problem+json` (RFC 9457) with a machine's `code` and a sentence for people. */
export function problem(status: number, code: string, detail?: string): FleetReply {
  return {
    status,
    headers: { 'content-type': 'application/problem+json' },
    body: JSON.stringify({ type: 'about:blank', title: 'Not taken', status, code, detail }),
  };
}

function send(response: ServerResponse, { status, headers, body }: FleetReply): void {
  response.writeHead(status, { ...headers }).end(body);
}

async function readBody(
  incoming: IncomingMessage,
  bytesMax: number,
): Promise<string | { readonly refusal: DoorRefusal }> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of incoming as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > bytesMax) return { refusal: 'body_too_large' };
      chunks.push(chunk);
    }
  } catch {
    return { refusal: 'body_incomplete' };
  }
  return Buffer.concat(chunks).toString('latin1');
}
