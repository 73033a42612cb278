/**
 * A whole relay, put together: read it to see what knows whom.
 *
 * The parts are released in reverse order of their making: first the front door, so that nothing new comes in,
 * last the store.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { Server } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { canonicalOrigin, peerServerName, siteOrigin } from '../fleet/manifest.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import type { Metrics } from '../system/metrics.ts';
import type { PinnedIdentity } from '../system/pinned-tls.ts';
import type { Random } from '../system/random.ts';
import type { Endpoint } from '../system/settings.ts';
import { createFrontDoor } from './adapters/front-door.ts';
import { createPeerLink, type RunningPeerLink } from './adapters/peer-link.ts';
import { createPeerListener } from './adapters/peer-listener.ts';
import type { RelayConfig } from './config.ts';
import { createRelayEvents, type RelayEvents } from './events.ts';
import { createHousekeeping } from './housekeeping.ts';
import { createClientServer } from './http/client-server.ts';
import { createMailboxTokenVerifier, type MailboxTokenVerifier } from './http/mailbox-token.ts';
import { createPrivateApp } from './http/private-app.ts';
import { createPublicApp, type PublicApp } from './http/public-app.ts';
import type { MessageStore } from './ports.ts';
import { createReadiness, type Readiness } from './readiness.ts';
import { createRecipients, type Recipients } from './recipients.ts';
import type { CreateAcceptor } from './replication/acceptor.ts';
import { createReplication, type Replication } from './replication/replication.ts';

export interface RelayDeps {
  readonly store: MessageStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  /** How many providers must hold a message before it is accepted. */
  readonly copiesNeeded: number;
  /** Age at which an outbox entry is offered again, milliseconds. */
  readonly outboxGraceMs: number;
  /** The write path; a drill puts a faulty one in its place to show that it notices. */
  readonly createAcceptor: CreateAcceptor;
}

/** The parts that serve clients and peers. */
interface Parts {
  readonly replication: Replication;
  readonly recipients: Recipients;
  readonly readiness: Readiness;
  readonly verify: MailboxTokenVerifier;
  readonly events: RelayEvents;
  readonly links: readonly RunningPeerLink[];
  readonly draining: DrainFlag;
}

const LOOK_AGAIN_MS = 30_000;
const HELLO_WITHIN_MS = 5000;
/** How long requests under way may take to finish when the relay stops. */
const FINISH_WITHIN_MS = 3000;

export async function startRelay(
  config: RelayConfig,
  deps: RelayDeps,
  resources: AsyncDisposableStack,
): Promise<void> {
  const { manifest, own, settings } = config;
  const parts = assemble(config, deps, resources);
  const { events, recipients, readiness, replication } = parts;

  const stopping = new AbortController();
  const background = [
    recipients.run,
    readiness.watch,
    replication.run,
    createHousekeeping({ ...deps, ...parts, isRecovering: replication.isRecovering }),
  ].map((run) => run(stopping.signal));
  resources.defer(async () => {
    await replication.flush();
    stopping.abort(new Error('stopping'));
    await Promise.all(background);
  });

  await servePrivately(settings.RELAY_PRIVATE_LISTEN, readiness, deps.metrics, resources);
  const frontDoor = createFrontDoor({
    peerServerName: peerServerName(manifest, own.name),
    clients: createClientServer(
      { certificatePem: settings.RELAY_TLS_CERTIFICATE, keyPem: settings.RELAY_TLS_KEY },
      publicAppOf(config, deps, parts),
      recipients,
    ),
    peers: createPeerListener({
      own: own.name,
      sites: manifest.sites,
      identity: peerIdentity(config),
      service: replication.service,
      events,
    }),
    connectionsMax: settings.RELAY_CONNECTIONS_MAX,
    events,
  });
  await listen(frontDoor.server, settings.RELAY_LISTEN, 'RELAY_LISTEN');
  resources.defer(async () => {
    // Not ready first, so that vantages and load balancers stop sending clients; then recipients go elsewhere.
    parts.draining.begin();
    await deps.clock.sleep(settings.RELAY_DRAIN_MS);
    recipients.drain();
    await frontDoor.close(FINISH_WITHIN_MS);
  });
  deps.log.info('serving', { address: `${settings.RELAY_LISTEN.host}:${settings.RELAY_LISTEN.port}` });
}

/** Makes the parts and starts the links to the other sites. */
function assemble(config: RelayConfig, deps: RelayDeps, resources: AsyncDisposableStack): Parts {
  const { manifest, own, settings, ring } = config;
  const { store, clock, copiesNeeded, outboxGraceMs, createAcceptor } = deps;
  const events = createRelayEvents(deps.metrics, deps.log);
  resources.defer(() => store.close());
  store.onDamage(() => events.damaged('store'));

  const skews = new Map<string, number>();
  const links = connectPeers(config, deps, events, skews);
  resources.defer(async () => {
    await Promise.all(links.map((link) => link.close()));
  });
  const deadlineMs = settings.RELAY_WRITE_DEADLINE_MS;
  const replication = createReplication(
    { manifest, own, pepper: ring.pepper, copiesNeeded, deadlineMs, outboxGraceMs, createAcceptor },
    { ...deps, links, events },
  );
  const draining = createDrainFlag();
  const readiness = createReadiness({
    own,
    copiesNeeded,
    store,
    links,
    skews,
    clock,
    isRecovering: replication.isRecovering,
    isDraining: draining.hasBegun,
  });
  const audience = siteOrigin(manifest, own.name);
  const verify = createMailboxTokenVerifier(audience, clock);
  const recipients = createRecipients({
    session: {
      site: own.name,
      audience,
      heartbeatMs: settings.RELAY_HEARTBEAT_MS,
      helloWithinMs: HELLO_WITHIN_MS,
      lookAgainMs: LOOK_AGAIN_MS,
      ttlMsMax: settings.RELAY_TTL_SECONDS_MAX * 1000,
      pepper: ring.pepper,
    },
    store,
    verify,
    clock,
    events,
    bury: replication.acceptor.bury,
    connectionsMax: settings.RELAY_CONNECTIONS_MAX,
  });
  return { replication, recipients, readiness, verify, events, links, draining };
}

interface DrainFlag {
  readonly hasBegun: () => boolean;
  readonly begin: () => void;
}

function createDrainFlag(): DrainFlag {
  let begun = false;
  return {
    hasBegun: () => begun,
    begin: () => {
      begun = true;
    },
  };
}

function peerIdentity({ settings }: RelayConfig): PinnedIdentity {
  return { certificatePem: settings.RELAY_PEER_CERTIFICATE, keyPem: settings.RELAY_PEER_KEY };
}

function connectPeers(
  config: RelayConfig,
  { clock, random }: RelayDeps,
  events: RelayEvents,
  skews: Map<string, number>,
): readonly RunningPeerLink[] {
  const { manifest, own } = config;
  return manifest.sites
    .filter(({ name }) => name !== own.name)
    .map((site) =>
      createPeerLink({
        site: site.name,
        provider: site.provider,
        destinations: [...site.relay.ipv4, ...site.relay.ipv6].map((host) => ({
          host,
          port: manifest.port,
          serverName: peerServerName(manifest, site.name),
          pins: site.relay.pins,
        })),
        identity: peerIdentity(config),
        clock,
        random,
        events,
        onSkew: (skewMs) => skews.set(site.name, skewMs),
      }),
    );
}

function publicAppOf(config: RelayConfig, deps: RelayDeps, parts: Parts): PublicApp {
  const { manifest, own, ring, settings } = config;
  const { clock, random } = deps;
  const { events, recipients, verify, readiness } = parts;
  const origin = canonicalOrigin(manifest);
  return createPublicApp({
    push: {
      ring,
      acceptor: parts.replication.acceptor,
      recipients,
      clock,
      events,
      origin,
      limits: {
        ttlSecondsMax: settings.RELAY_TTL_SECONDS_MAX,
        ciphertextTypes: settings.RELAY_CIPHERTEXT_TYPES.split(','),
      },
      bodyBytesMax: settings.RELAY_BODY_BYTES_MAX,
      requestsMax: settings.RELAY_REQUESTS_MAX,
      isDraining: parts.draining.hasBegun,
    },
    mint: { ring, verify, random, origin, operatorTokenHashes: config.operatorTokenHashes },
    facts: {
      site: own.name,
      audience: siteOrigin(manifest, own.name),
      sites: manifest.sites.map(({ name, provider }) => ({
        name,
        provider,
        origin: siteOrigin(manifest, name),
      })),
      minting: settings.RELAY_MINTING,
    },
    isReady: () => readiness.reasons().length === 0,
    events,
  });
}

async function servePrivately(
  at: Endpoint,
  readiness: Readiness,
  metrics: Metrics,
  resources: AsyncDisposableStack,
): Promise<void> {
  const listener = getRequestListener(createPrivateApp(readiness, metrics).fetch);
  const server = createServer((request, response) => {
    void listener(request, response);
  });
  await listen(server, at, 'RELAY_PRIVATE_LISTEN');
  resources.defer(async () => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  });
}

/** Rejects with one sentence when the address cannot be had. */
async function listen(server: Server, { host, port }: Endpoint, setting: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject).listen({ host, port }, resolve);
  try {
    await promise;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    const why = code === 'EADDRINUSE' ? 'another process listens there' : `the system says ${code}`;
    throw new Error(`${setting}: cannot listen at ${host}:${port}: ${why}`, { cause: error });
  }
  server.off('error', reject);
}
