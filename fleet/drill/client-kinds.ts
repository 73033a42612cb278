/**
 * The populations of a drill, as configurations of the client library.
 *
 * A DNS-only client knows one name, connects to the first address of each fresh answer, never to a second one, and
 * keeps no HTTP connection. A client with failover knows all sites, hedges, and keeps sockets at two providers. A
 * late reader knows one site and no other.
 */
import { encrypt } from '../../client/encryption.ts';
import { RefusedError } from '../../client/errors.ts';
import { dnsOnlyFleet, type Fleet } from '../../client/fleet.ts';
import { createNodeTransport, type NodeTransport } from '../../client/node-transport.ts';
import { problemCode } from '../../client/problem.ts';
import { createSendRequest, parsePushUrl } from '../../client/send-request.ts';
import { createSender } from '../../client/sender.ts';
import { systemClock } from '../../system/clock.ts';
import type { Random } from '../../system/random.ts';
import type { ClientPlan, Population } from './client-plan.ts';
import { askForAddresses } from './dns-question.ts';
import type { Send } from './sender-loop.ts';
import { createStubResolver } from './stub-resolver.ts';

export interface Kind {
  readonly transport: NodeTransport;
  readonly fleet: Fleet;
  /** Sockets that a recipient keeps. */
  readonly warm: number;
  /** Names the site of an origin or, for a DNS-only client, the site that its last connection went to. */
  siteOf(origin: string): string;
}

const QUESTION_TIMEOUT_MS = 400;
const CONNECT_TIMEOUT_MS = 1000;
const DNS_ONLY_SEND_TIMEOUT_MS = 2000;
const FAILOVER_SEND_DEADLINE_MS = 5000;
const TTL_SECONDS = 600;
const BODY_BYTES_MAX = 4096;

/** Everything that one client has for itself: a resolver with its own cache, and connections of its own. */
export function createKind(plan: ClientPlan, place: number, random: Random): Kind {
  const { nameservers, population, sites } = plan;
  const knowsAllSites = hasFailover(population);
  const resolver = createStubResolver({
    clock: systemClock,
    nameservers: nameservers.length,
    first: place,
    ask: async (index, name) => {
      const nameserver = nameservers[index];
      if (nameserver === undefined) throw new Error('no such nameserver');
      return await askForAddresses(nameserver, name, random, QUESTION_TIMEOUT_MS);
    },
  });
  let lastAddress = '';
  const transport = createNodeTransport({
    clock: systemClock,
    ca: plan.authorityPem,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    keepAlive: knowsAllSites,
    lookup: async (name) => {
      const fixed = sites.find((site) => population === 'late' && new URL(site.origin).hostname === name);
      const first = fixed?.address ?? (await resolver.resolve(name))[0];
      if (first === undefined) return [];
      lastAddress = first;
      return [first];
    },
  });
  const all: Fleet = {
    canonicalOrigin: plan.canonicalOrigin,
    sites: sites.map(({ origin, name }) => ({ origin, provider: name })),
  };
  return {
    transport,
    fleet: knowsAllSites ? all : dnsOnlyFleet(plan.canonicalOrigin),
    warm: knowsAllSites ? 2 : 1,
    siteOf: (origin) =>
      sites.find((site) => site.origin === origin || site.address === (origin === '' ? lastAddress : ''))
        ?.name ?? '',
  };
}

/** How a client of this population sends one message; resolves with the name of the site that accepted it. */
export function createSend(plan: ClientPlan, kind: Kind, random: Random): Send {
  if (hasFailover(plan.population)) {
    const sender = createSender({
      transport: kind.transport,
      clock: systemClock,
      random,
      fleet: kind.fleet,
      deadlineMs: FAILOVER_SEND_DEADLINE_MS,
      bodyBytesMax: BODY_BYTES_MAX,
    });
    return async (recipient, plaintext) => {
      const accepted = await sender.send(recipient, plaintext, { ttlSeconds: TTL_SECONDS });
      return kind.siteOf(accepted.origin);
    };
  }
  return async (recipient, plaintext) => {
    const content = await encrypt(plaintext, recipient.keys, {
      random,
      bodyBytesMax: BODY_BYTES_MAX,
      padding: 'buckets',
    });
    const { origin, path } = parsePushUrl(recipient.endpoint);
    const request = createSendRequest(path, content, { ttlSeconds: TTL_SECONDS });
    const response = await kind.transport.request(
      { ...request, origin },
      { timeoutMs: DNS_ONLY_SEND_TIMEOUT_MS },
    );
    if (response.status !== 201) throw new RefusedError(response.status, problemCode(response.body));
    return '';
  };
}

function hasFailover(population: Population): boolean {
  return population !== 'dns' && population !== 'late';
}
