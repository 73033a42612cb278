/**
 * Sends votes: each vantage posts its own to every other one, `POST /v1/vote` over mutual TLS with pinned keys. There
 * is no leader, and nobody forwards another's vote.
 *
 * Towards each peer at most one request is under way and at most one vote waits, always the newest: a peer that is
 * slow or dead costs one socket and delays nobody else.
 */
import { Agent, request } from 'node:http';
import type { Duplex } from 'node:stream';
import {
  type Manifest,
  type SiteName,
  vantagesOf,
  type WitnessEntry,
} from '../../fleet/manifest/manifest.ts';
import type { Clock } from '../../system/clock.ts';
import { connectPinned, type PinnedIdentity } from '../../system/pinned-tls.ts';
import { nameserverName } from '../core/zone.ts';
import { CHALLENGES_PATH, VOTE_PATH } from './fleet-port.ts';

export const POST_OUTCOMES = ['delivered', 'refused', 'failed'] as const;
export type PostOutcome = (typeof POST_OUTCOMES)[number];

/** Connection, request and response together. The next vote is better than a late one. */
const POST_DEADLINE_MS = 1000;

export interface VoteSender {
  /** Sends this signed vote to every other vantage, instead of any that still waits. */
  send(signed: string): void;
  /** Posts ACME challenges to every other vantage, once, and says what became of each. */
  sendChallenges(text: string): Promise<ReadonlyMap<SiteName, PostOutcome>>;
  close(): void;
}

interface Peer {
  readonly name: SiteName;
  send(signed: string): void;
  sendChallenges(text: string): Promise<PostOutcome>;
  close(): void;
}

export interface VoteSenderOptions {
  readonly manifest: Manifest;
  readonly self: SiteName;
  readonly identity: PinnedIdentity;
  readonly clock: Clock;
  readonly posted: (peer: SiteName, outcome: PostOutcome) => void;
}

/**
 * A sender to every site of the manifest but its own. A vote that cannot be posted is counted and dropped: the next
 * is newer.
 */
export function createVoteSender(options: VoteSenderOptions): VoteSender {
  const peers = vantagesOf(options.manifest)
    .filter((site) => site.name !== options.self)
    .map((site) => createPeer(site, options));
  return {
    send: (signed) => {
      for (const peer of peers) peer.send(signed);
    },
    sendChallenges: async (text) =>
      new Map(
        await Promise.all(peers.map(async (peer) => [peer.name, await peer.sendChallenges(text)] as const)),
      ),
    close: () => {
      for (const peer of peers) peer.close();
    },
  };
}

function createPeer(peer: WitnessEntry, options: VoteSenderOptions): Peer {
  const agent = pinnedAgent(peer, options);
  let waiting: string | undefined;
  let current: AbortController | undefined;
  const closed = new AbortController();
  const postInTime = async (path: string, body: string, attempt: AbortController): Promise<PostOutcome> => {
    const cancel = options.clock.after(POST_DEADLINE_MS, () => attempt.abort());
    const outcome = await post(path, body, agent, attempt.signal);
    cancel();
    return outcome;
  };
  const drain = async (): Promise<void> => {
    while (waiting !== undefined && !closed.signal.aborted) {
      const signed = waiting;
      waiting = undefined;
      const attempt = new AbortController();
      current = attempt;
      const outcome = await postInTime(VOTE_PATH, signed, attempt);
      if (!closed.signal.aborted) options.posted(peer.name, outcome);
    }
    current = undefined;
  };
  return {
    name: peer.name,
    sendChallenges: async (text) => postInTime(CHALLENGES_PATH, text, new AbortController()),
    send: (signed) => {
      waiting = signed;
      if (current === undefined) void drain();
    },
    close: () => {
      closed.abort();
      current?.abort();
      agent.destroy();
    },
  };
}

/** An agent whose connections have proved the peer's pinned key before a request uses them. */
function pinnedAgent(peer: WitnessEntry, { manifest, identity }: VoteSenderOptions): Agent {
  const hosts = [peer.vantage.ipv4, peer.vantage.ipv6].filter((address) => address !== null);
  const agent = new Agent({ keepAlive: true, maxSockets: 1, maxFreeSockets: 1 });
  let failures = 0;
  const establish = async (done: (error: Error | null, socket?: Duplex) => void): Promise<void> => {
    // A peer with two addresses is tried at the other one after each failure.
    const host = hosts[failures % hosts.length] ?? '';
    const port = peer.vantage.votePort;
    const destination = {
      host,
      port,
      serverName: nameserverName(manifest, peer.name),
      pins: peer.vantage.pins,
    };
    try {
      done(null, await connectPinned(destination, identity, POST_DEADLINE_MS));
    } catch (error) {
      failures += 1;
      done(error instanceof Error ? error : new Error(String(error)));
    }
  };
  agent.createConnection = (_, done) => {
    // The declared type asks for a socket even with an error; Node does not (lib/_http_agent.js).
    if (done !== undefined) void establish(done as (error: Error | null, socket?: Duplex) => void);
    return undefined;
  };
  return agent;
}

/** One request; never rejects. */
async function post(path: string, body: string, agent: Agent, signal: AbortSignal): Promise<PostOutcome> {
  const { promise, resolve } = Promise.withResolvers<PostOutcome>();
  const outgoing = request({
    agent,
    signal,
    method: 'POST',
    path,
    host: 'vantage',
    headers: { 'content-type': path === VOTE_PATH ? 'application/jose' : 'application/json' },
  });
  outgoing.once('response', (response) => {
    response.on('error', () => undefined).resume();
    // The socket is free for the next vote only after the response has ended.
    response.once('close', () => resolve(response.statusCode === 204 ? 'delivered' : 'refused'));
  });
  outgoing.on('error', () => resolve('failed'));
  outgoing.end(body);
  return promise;
}
