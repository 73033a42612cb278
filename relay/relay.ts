/**
 * A whole relay, put together: read it to see what knows whom.
 *
 * The parts are released in reverse order of their making: first the front door, so that nothing new comes in,
 * last the store.
 */
import { canonicalOrigin, peerServerName, type SiteName, siteOrigin } from '../fleet/manifest/manifest.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import type { Metrics } from '../system/metrics.ts';
import type { PinnedIdentity } from '../system/pinned-tls.ts';
import type { Random } from '../system/random.ts';
import { type BuryAck, createAckGate, createDoubtfulChecks } from './ack-gate.ts';
import { createFrontDoor } from './adapters/front-door.ts';
import { listen } from './adapters/listen.ts';
import { type ConnectPeer, createPeerLink, type RunningPeerLink } from './adapters/peer-link.ts';
import { createPeerListener } from './adapters/peer-listener.ts';
import { type Admission, createAdmission } from './admission.ts';
import { type CatchUp, createCatchUp } from './catch-up.ts';
import type { ShownCertificate } from './certificate.ts';
import type { RelayConfig } from './config.ts';
import { createDeliveryLoops } from './core/delivery-loops.ts';
import { recipientsOf } from './core/load.ts';
import { createRelayEvents, type RelayEvents } from './events.ts';
import { createFailures, type Failures } from './failures.ts';
import { createHousekeeping } from './housekeeping.ts';
import { createClientServer } from './http/client-server.ts';
import { createLongPoll, type LongPoll } from './http/long-poll.ts';
import type { MailboxTokenVerifier } from './http/mailbox-token.ts';
import type { ReadinessReasons } from './http/private-app.ts';
import { createPublicApp, type PublicApp, type PublicSites } from './http/public-app.ts';
import { createRevocations } from './http/revocations.ts';
import { createVapidVerifier } from './http/vapid-verifier.ts';
import { vantageTokenHashes } from './live-manifest.ts';
import { createPeerClocks, fleetClock, type PeerClocks } from './peer-clocks.ts';
import { createPeerLinks, type PeerLinks } from './peer-links.ts';
import type { MessageStore } from './ports.ts';
import { createQuotas, type Quotas } from './quotas.ts';
import { createReadiness, type Readiness } from './readiness.ts';
import { createRecipients, type Recipients } from './recipients.ts';
import type { CreateAcceptor } from './replication/acceptor.ts';
import { createReplication, type Replication } from './replication/replication.ts';
import { runSendAway } from './send-away.ts';

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
  /** How the relays of other sites are reached. */
  readonly connectPeer: ConnectPeer;
  /** Makes what checks the mailbox tokens of recipients for one audience, the origin of this site. */
  readonly createVerifier: (audience: string, clock: Clock) => MailboxTokenVerifier;
  /** Whether clients can be shown a certificate. */
  readonly hasCertificate: () => boolean;
}

/** The door through which clients come. */
export interface ClientDoor {
  readonly shown: ShownCertificate;
}

/** A relay that runs, without the doors through which clients and peers come to it. */
export interface RunningRelay extends Parts {
  readonly app: PublicApp;
}

/** The parts that serve clients and peers. */
interface Parts {
  readonly replication: Replication;
  readonly recipients: Recipients;
  readonly readiness: Readiness;
  readonly verify: MailboxTokenVerifier;
  readonly events: RelayEvents;
  /** Always those of the manifest in force. */
  readonly links: readonly RunningPeerLink[];
  readonly sitesChanged: () => void;
  readonly skews: PeerClocks['skews'];
  readonly catchUp: CatchUp;
  readonly stop: StopPhase;
  readonly admission: Admission;
  readonly quotas: Quotas;
  readonly longPoll: LongPoll;
  readonly failures: Failures;
}

const LOOK_AGAIN_MS = 30_000;
export const HELLO_WITHIN_MS = 5000;
/** How long requests under way may take to finish when the relay stops, on top of the write deadline. */
const FINISH_WITHIN_MS = 3000;

/**
 * Starts a relay; what has to be released goes to `resources`. Rejects when it cannot listen or its store is set up
 * wrong.
 */
export async function startRelay(
  config: RelayConfig,
  deps: RelayDeps,
  { shown }: ClientDoor,
  resources: AsyncDisposableStack,
): Promise<StartedRelay> {
  const { manifest, own, settings } = config;
  const parts = runRelayParts(config, deps, resources);
  const { events, recipients, replication } = parts;
  const clients = createClientServer(shown.current(), parts.app, recipients, events);
  shown.onChange(clients.show);
  const frontDoor = createFrontDoor({
    peerServerName: peerServerName(manifest, own.name),
    clients,
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
    // Not ready first, and serving on until vantages and load balancers have stopped sending clients; then
    // recipients go elsewhere, one by one, and what senders still bring is refused.
    parts.stop.leaveReadiness();
    await deps.clock.sleep(settings.RELAY_DRAIN_MS);
    parts.stop.refuseSenders();
    parts.longPoll.stop();
    await recipients.drain(settings.RELAY_DRAIN_SPREAD_MS, originsThatAreUp(config, parts.links));
    await frontDoor.close(settings.RELAY_WRITE_DEADLINE_MS + FINISH_WITHIN_MS);
  });
  deps.log.info('serving', { address: `${settings.RELAY_LISTEN.host}:${settings.RELAY_LISTEN.port}` });
  return {
    readinessReasons: () => parts.readiness.reasons(),
    sitesChanged: parts.sitesChanged,
    lacking: () => [
      ...(replication.isRecovering() ? [own.name] : []),
      // Nothing is owed to a site that has left the fleet.
      ...parts.catchUp.lacking().filter((site) => parts.links.some((link) => link.site === site)),
    ],
  };
}

/** What a relay that runs is asked and told by the process around it. */
export interface StartedRelay {
  readonly readinessReasons: ReadinessReasons;
  /** The list of sites in its configuration is another one now. */
  readonly sitesChanged: () => void;
  /** Sites that lack copies, as far as this relay knows: its own while it is refilled, and others that are owed something old. */
  readonly lacking: () => readonly SiteName[];
}

/** Puts a relay together and starts everything of it that no client or peer has to ask for. */
export function runRelayParts(
  config: RelayConfig,
  deps: RelayDeps,
  resources: AsyncDisposableStack,
): RunningRelay {
  const parts = assemble(config, deps, resources);
  const { recipients, readiness, replication } = parts;
  const windowMsMax = config.settings.RELAY_DRAIN_SPREAD_MS;
  const alternates = (): readonly string[] => originsThatAreUp(config, parts.links);
  const stopping = new AbortController();
  const background = [
    recipients.run,
    readiness.watch,
    replication.run,
    parts.admission.run,
    parts.quotas.run,
    createHousekeeping({ ...deps, ...parts, ...replication }),
    (stopped: AbortSignal) => runSendAway({ ...deps, ...parts, windowMsMax, alternates }, stopped),
  ].map((run) => run(stopping.signal));
  resources.defer(async () => {
    await replication.flush();
    stopping.abort(new Error('stopping'));
    await Promise.all(background);
  });
  return { ...parts, app: publicAppOf(config, deps, parts) };
}

/** Makes the parts and starts the links to the other sites. */
function assemble(config: RelayConfig, deps: RelayDeps, resources: AsyncDisposableStack): Parts {
  const { manifest, own, settings, ring } = config;
  const { store, clock, copiesNeeded } = deps;
  const events = createRelayEvents(deps.metrics, deps.log);
  resources.defer(() => store.close());
  store.onDamage(() => events.damagedInStore());
  store.onOutboxFull((count) => events.outboxFull(count));

  const peerClocks = createPeerClocks(clock);
  const peers = connectPeers(config, deps, events, peerClocks);
  resources.defer(() => peers.close());
  const replication = createReplication(
    { ...deps, manifest, own, pepper: ring.pepper, deadlineMs: settings.RELAY_WRITE_DEADLINE_MS },
    {
      ...deps,
      links: peers.list,
      eachLink: peers.each,
      expiryWallMs: peerClocks.expiryWallMs,
      events,
      deliverNow: (one) => receiving.recipients.deliverNow(one),
    },
  );
  const stop = createStopPhase();
  const readiness = createReadiness({
    own,
    copiesNeeded,
    store,
    links: peers.list,
    skews: peerClocks.skews,
    clock,
    events,
    isRecovering: replication.isRecovering,
    isDraining: stop.isUnready,
    hasCertificate: deps.hasCertificate,
  });
  const admission = createAdmission({
    requestsMax: settings.RELAY_REQUESTS_MAX,
    capabilityPerSecond: settings.RELAY_CAPABILITY_MESSAGES_PER_SECOND,
    mailboxPerSecond: settings.RELAY_MAILBOX_MESSAGES_PER_SECOND,
    mintsPerSecond: settings.RELAY_MINTS_PER_SECOND,
    asksPerSecond: settings.RELAY_MAILBOX_ASKS_PER_SECOND,
    clock,
    random: deps.random,
  });
  const failures = createFailures({ isCrowded: admission.isCrowded, clock, random: deps.random });
  const quotas = createQuotasOf(config, deps, (mailbox) => receiving.recipients.isConnected(mailbox));
  const { bury } = replication.acceptor;
  const openAckGate = createAckGate({ store, bury, fullness: quotas.fullness, clock, events });
  const receiving = createReceiving(config, deps, {
    mayReceive: admission.mayReceive,
    isBusy: admission.isBusy,
    events,
    failures,
    openAckGate,
    replication,
  });
  return {
    ...receiving,
    failures,
    replication,
    readiness,
    events,
    links: peers.list,
    sitesChanged: () => letGo(peers.update(), peerClocks, replication),
    skews: peerClocks.skews,
    catchUp: createCatchUp({ clock, events }),
    stop,
    admission,
    quotas,
  };
}

/** Sites have left the fleet: nothing is owed to them any more, and what their clocks say counts no more. */
function letGo(departed: readonly SiteName[], clocks: PeerClocks, replication: Replication): void {
  for (const site of departed) clocks.forget(site);
  replication.departed(departed);
}

function createQuotasOf(
  { settings }: RelayConfig,
  { store, clock }: RelayDeps,
  isConnected: Recipients['isConnected'],
): Quotas {
  return createQuotas({
    store,
    isConnected,
    mailbox: { messages: settings.RELAY_MAILBOX_MESSAGES_MAX, bytes: settings.RELAY_MAILBOX_BYTES_MAX },
    unclaimed: {
      messages: settings.RELAY_UNREAD_MAILBOX_MESSAGES_MAX,
      bytes: settings.RELAY_UNREAD_MAILBOX_BYTES_MAX,
    },
    unclaimedTtlSecondsMax: settings.RELAY_UNREAD_TTL_SECONDS_MAX,
    clock,
  });
}

/** Both ways to receive, which deliver by the same rules. */
function createReceiving(
  { manifest, own, settings, ring }: RelayConfig,
  { store, clock, createVerifier }: RelayDeps,
  gates: Pick<Admission, 'mayReceive' | 'isBusy'> & {
    readonly events: RelayEvents;
    readonly failures: Failures;
    readonly openAckGate: () => BuryAck;
    readonly replication: Pick<Replication, 'lookFor' | 'buriedElsewhere'>;
  },
): Pick<Parts, 'verify' | 'recipients' | 'longPoll'> {
  const { pepper } = ring;
  const audience = siteOrigin(manifest, own.name);
  const verify = createVerifier(audience, clock);
  const ttlMsMax = settings.RELAY_TTL_SECONDS_MAX * 1000;
  const recipientsMax = recipientsOf(settings.RELAY_CONNECTIONS_MAX);
  const hasRoom = (): boolean => recipients.count() + longPoll.waiting() < recipientsMax;
  const { buriedElsewhere } = gates.replication;
  const shared = { ...gates, buriedElsewhere, hasRoom, store, verify, clock, loops: createDeliveryLoops() };
  const recipients = createRecipients({
    ...shared,
    arrived: gates.replication.lookFor,
    session: {
      site: own.name,
      audience,
      heartbeatMs: settings.RELAY_HEARTBEAT_MS,
      helloWithinMs: HELLO_WITHIN_MS,
      lookAgainMs: LOOK_AGAIN_MS,
      ttlMsMax,
      pepper,
      mayVerifyDoubtful: createDoubtfulChecks(),
    },
  });
  const longPoll = createLongPoll({ ...shared, pepper, ttlMsMax });
  return { verify, recipients, longPoll };
}

/** How far a relay that stops has come. */
interface StopPhase {
  readonly isUnready: () => boolean;
  readonly isRefusing: () => boolean;
  readonly leaveReadiness: () => void;
  readonly refuseSenders: () => void;
}

function createStopPhase(): StopPhase {
  let phase: 'serving' | 'unready' | 'refusing' = 'serving';
  return {
    isUnready: () => phase !== 'serving',
    isRefusing: () => phase === 'refusing',
    leaveReadiness: () => {
      phase = 'unready';
    },
    refuseSenders: () => {
      phase = 'refusing';
    },
  };
}

/** Where recipients of a relay that stops can go: the sites that it is in touch with. */
function originsThatAreUp({ manifest }: RelayConfig, links: readonly RunningPeerLink[]): readonly string[] {
  return links.filter((link) => link.isUp()).map(({ site }) => siteOrigin(manifest, site));
}

function peerIdentity({ settings }: RelayConfig): PinnedIdentity {
  return { certificatePem: settings.RELAY_PEER_CERTIFICATE, keyPem: settings.RELAY_PEER_KEY };
}

function connectPeers(
  config: RelayConfig,
  { clock, random, connectPeer }: RelayDeps,
  events: RelayEvents,
  peerClocks: PeerClocks,
): PeerLinks {
  const { manifest, own } = config;
  return createPeerLinks({
    own: own.name,
    sites: manifest.sites,
    destinationsOf: ({ name, relay }) =>
      [...relay.ipv4, ...relay.ipv6].map((host) => ({
        host,
        port: manifest.port,
        serverName: peerServerName(manifest, name),
        pins: relay.pins,
      })),
    connect: ({ name, provider }, destinations) =>
      createPeerLink({
        site: name,
        provider,
        destinations,
        identity: peerIdentity(config),
        connect: connectPeer,
        clock,
        random,
        events,
        onTime: (wallMs, atMs) => peerClocks.note(name, wallMs, atMs),
      }),
  });
}

function publicAppOf(config: RelayConfig, deps: RelayDeps, parts: Parts): PublicApp {
  const { manifest, own, ring, settings } = config;
  const { clock, random } = deps;
  const { events, verify, readiness } = parts;
  const origin = canonicalOrigin(manifest);
  const sites = (): PublicSites =>
    manifest.sites.map(({ name, provider }) => ({ name, provider, origin: siteOrigin(manifest, name) }));
  const audiences = {
    get audiences() {
      return [origin, ...sites().map((site) => site.origin)];
    },
  };
  return createPublicApp({
    push: {
      ring,
      acceptor: parts.replication.acceptor,
      topics: parts.replication.topics,
      transients: parts.replication.transients,
      revocations: createRevocations(deps.store, clock),
      verifyVapid: createVapidVerifier(audiences, clock),
      // How long a message lives is reckoned by the clock of the fleet, not by one that the others contradict.
      clock: fleetClock(clock, () => readiness.clockOffsetMs()),
      random,
      events,
      origin,
      limits: {
        ttlSecondsMax: settings.RELAY_TTL_SECONDS_MAX,
        ciphertextTypes: settings.RELAY_CIPHERTEXT_TYPES.split(','),
      },
      bodyBytesMax: settings.RELAY_BODY_BYTES_MAX,
      admission: parts.admission,
      quotas: parts.quotas,
      isDraining: parts.stop.isRefusing,
    },
    mint: {
      ring,
      verify,
      random,
      origin,
      get operatorTokenHashes() {
        const told = config.operatorTokenHashes;
        return told === undefined ? undefined : [...told, ...vantageTokenHashes(manifest)];
      },
      admission: parts.admission,
    },
    longPoll: parts.longPoll,
    failures: parts.failures,
    facts: {
      site: own.name,
      audience: siteOrigin(manifest, own.name),
      get sites() {
        return sites();
      },
      minting: settings.RELAY_MINTING,
    },
    isReady: () => readiness.reasons().length === 0,
    isCrowded: parts.admission.isCrowded,
    events,
  });
}
