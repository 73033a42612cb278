/**
 * Receives votes: HTTPS with mutual TLS, for the vantages whose keys the manifest lists and for nobody else. Bodies,
 * headers, connections and times are bounded, and each refusal has a name that the sender is told.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { type Manifest, type SiteName, vantagesOf } from '../../fleet/manifest/manifest.ts';
import { type Pin, type PinnedIdentity, peerPin, pinnedServerOptions } from '../../system/pinned-tls.ts';
import type { Result } from '../../system/result.ts';
import type { Endpoint } from '../../system/settings.ts';
import type { ChallengeRefusal } from '../challenges.ts';
import { SIGNED_VOTE_BYTES_MAX, type VoteRefusal } from '../core/vote.ts';
import { listenAt } from './listen.ts';

export const VOTE_PATH = '/v1/vote';
export const CHALLENGES_PATH = '/v1/acme-challenges';

/** What the receiving side refuses before it reads a vote. */
export const VOTE_DOOR_REFUSALS = [
  'key_not_pinned',
  'route_unknown',
  'body_too_large',
  'body_incomplete',
] as const;
export type VoteDoorRefusal = (typeof VOTE_DOOR_REFUSALS)[number];

export interface VoteReceiverOptions {
  /** The manifest in force, which says whose keys are welcome. */
  readonly manifest: () => Manifest;
  readonly endpoint: Endpoint;
  readonly identity: PinnedIdentity;
  /** Takes a signed vote from the vantage that the connection has proved. */
  readonly receive: (signed: string, sender: SiteName) => Promise<Result<unknown, VoteRefusal>>;
  /** Takes ACME challenges from the site that the connection has proved. */
  readonly receiveChallenges: (text: string, sender: SiteName) => Result<unknown, ChallengeRefusal>;
  readonly refused: (reason: VoteDoorRefusal) => void;
}

const HANDSHAKE_MS = 3000;
const REQUEST_MS = 3000;
/** Longer than any pause between two votes, so that the sender never meets a connection that is just closing. */
const KEEP_ALIVE_MS = 120_000;
/** Each of up to 24 vantages needs one connection, and one more while it reconnects. */
const CONNECTIONS_MAX = 112;

/** Listens for votes; rejects with a ListenError. Dispose of the result by closing it. */
export async function startVoteReceiver(
  options: VoteReceiverOptions,
): Promise<{ readonly port: number; close(): Promise<void> }> {
  const senderOf = (pin: Pin | undefined): SiteName | undefined =>
    vantagesOf(options.manifest()).find(({ vantage }) => pin !== undefined && vantage.pins.includes(pin))
      ?.name;
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
  server.on('secureConnection', (socket) => {
    if (senderOf(peerPin(socket)) !== undefined) return;
    options.refused('key_not_pinned');
    socket.destroy();
  });
  server.on('request', (incoming, response) => {
    const pin = incoming.socket instanceof TLSSocket ? peerPin(incoming.socket) : undefined;
    const sender = senderOf(pin);
    if (sender === undefined) incoming.socket.destroy();
    else void handle(incoming, response, sender, options);
  });
  const port = await listenAt(server, 'votes', options.endpoint);
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

async function handle(
  incoming: IncomingMessage,
  response: ServerResponse,
  sender: SiteName,
  { receive, receiveChallenges, refused }: VoteReceiverOptions,
): Promise<void> {
  const refuse = (status: number, code: string): void => {
    incoming.resume();
    response.writeHead(status, { 'content-type': 'application/problem+json', connection: 'close' });
    response.end(JSON.stringify({ type: 'about:blank', title: 'Not taken', status, code }));
  };
  const isVote = incoming.url === VOTE_PATH;
  if (incoming.method !== 'POST' || (!isVote && incoming.url !== CHALLENGES_PATH)) {
    refused('route_unknown');
    refuse(404, 'route_unknown');
    return;
  }
  const body = await readBody(incoming);
  if (typeof body !== 'string') {
    refused(body.refusal);
    refuse(body.refusal === 'body_too_large' ? 413 : 400, body.refusal);
    return;
  }
  const taken = isVote ? await receive(body, sender) : receiveChallenges(body, sender);
  if (taken.ok) response.writeHead(204).end();
  else refuse(409, taken.fault);
}

async function readBody(incoming: IncomingMessage): Promise<string | { readonly refusal: VoteDoorRefusal }> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of incoming as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > SIGNED_VOTE_BYTES_MAX) return { refusal: 'body_too_large' };
      chunks.push(chunk);
    }
  } catch {
    return { refusal: 'body_incomplete' };
  }
  return Buffer.concat(chunks).toString('latin1');
}
