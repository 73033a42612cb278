/**
 * Everything worth telling, one function per event: its metric, and its log line where a person would want one.
 * No function takes an address, a capability, a mailbox, a message id or a token, so none can be logged.
 */
import type { SiteName } from '../fleet/manifest/manifest.ts';
import type { Log } from '../system/log.ts';
import type { Metrics } from '../system/metrics.ts';
import type { AckFault } from './core/ack.ts';
import type { ForeignFault } from './core/message.ts';
import type { PeerRefusal } from './core/peer-frame.ts';
import { REFUSAL_NAMES, type Refusal } from './core/refusal.ts';
import { CLOSE_CODES, type CloseReason } from './core/session.ts';
import { createReplicationEvents, type ReplicationEvents } from './replication-events.ts';

/** Why something that a relay had is gone, other than by an ack. */
type Discard =
  | 'idempotency_conflict'
  | 'expired'
  | 'damaged_in_store'
  | 'damaged_by_peer'
  | 'lives_too_long'
  | 'ttl_zero_not_connected';
export const DISCARDS: readonly Discard[] = [
  'idempotency_conflict',
  'expired',
  'damaged_in_store',
  'damaged_by_peer',
  'lives_too_long',
  'ttl_zero_not_connected',
];
export const PEER_REFUSALS: readonly PeerRefusal[] = [
  'store_unavailable',
  'bad_signature',
  'malformed',
  'overloaded',
];
/** Connections that were cut, or never became one. */
export type TurnedAway =
  | 'no_client_hello'
  | 'hello_timeout'
  | 'tls_failed'
  | 'peer_key_unknown'
  | 'too_many_connections'
  | 'too_many_requests';
export const TURNED_AWAY: readonly TurnedAway[] = [
  'no_client_hello',
  'hello_timeout',
  'tls_failed',
  'peer_key_unknown',
  'too_many_connections',
  'too_many_requests',
];

export interface RelayEvents extends ReplicationEvents {
  acceptedIn(ms: number, accepted: boolean): void;
  refused(refusal: Refusal): void;
  discarded(reason: Discard, count: number): void;
  damagedInStore(): void;
  /** What another site sent is not kept: it is damaged, not signed, or would live longer than anything may. */
  unbelieved(why: ForeignFault | AckFault): void;
  delivered(count: number): void;
  acked(count: number): void;
  /** Acks of ids that nobody here knows were kept as tombstones. */
  ackedUnknown(count: number): void;
  /** A message that is not stored found nobody at this relay and was handed to the others. */
  passedOn(): void;
  heldBack(): void;
  sessionOpened(): void;
  sessionClosed(reason: CloseReason | 'gone'): void;
  /** A recipient sends more than it has reason to, and is not read for a while. */
  slowed(): void;
  /** Recipients of a site that has not been ready for a while were told to go elsewhere. */
  sentAway(count: number, why: string): void;
  peerUp(site: SiteName): void;
  peerDown(site: SiteName, reason: string): void;
  peerRefused(site: SiteName, reason: PeerRefusal): void;
  turnedAway(reason: TurnedAway): void;
  noticeLost(): void;
  /** What a newer message of its topic replaces could not be deleted. */
  topicKept(): void;
  drained(site: SiteName, count: number): void;
  failed(what: string, reason: string): void;
}

/** Events whose counters are all at zero and exported from the start. */
export function createRelayEvents(metrics: Metrics, log: Log): RelayEvents {
  const accepted = metrics.counter('accepted_total', 'Answers to complete push requests', 'result', [
    'accepted',
    'copies_unreachable',
  ]);
  const latency = metrics.histogram(
    'accept_milliseconds',
    'From a complete push request to its answer',
    [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000],
  );
  const refused = metrics.counter('refused_total', 'Requests refused, by code', 'code', REFUSAL_NAMES);
  const discarded = metrics.counter('discarded_total', 'Messages gone without an ack', 'reason', DISCARDS);
  const messages = metrics.counter('messages_total', 'Messages by what became of them', 'event', [
    'delivered',
    'acked',
    'acked_unknown',
    'drained',
    'held_back',
    'passed_on',
  ]);
  const peerRefusals = metrics.counter(
    'peer_refused_total',
    'Requests of peers refused',
    'reason',
    PEER_REFUSALS,
  );
  const turnedAway = metrics.counter('turned_away_total', 'Connections turned away', 'reason', TURNED_AWAY);
  const lost = metrics.counter('notices_lost_total', 'Notices to peers that did not arrive', 'event', [
    'lost',
  ]);
  const topics = metrics.counter('topics_total', 'Replaced messages that could not be deleted', 'event', [
    'kept',
  ]);
  return {
    ...createReplicationEvents(metrics, log),
    ...sessionEvents(metrics, log),
    acceptedIn: (ms, isAccepted) => {
      latency.observe(ms);
      accepted.add(isAccepted ? 'accepted' : 'copies_unreachable');
    },
    refused: (refusal) => refused.add(refusal),
    discarded: (reason, count) => discarded.add(reason, count),
    damagedInStore: () => discarded.add('damaged_in_store'),
    unbelieved: (why) => discarded.add(why === 'lives_too_long' ? why : 'damaged_by_peer'),
    delivered: (count) => messages.add('delivered', count),
    acked: (count) => messages.add('acked', count),
    ackedUnknown: (count) => messages.add('acked_unknown', count),
    heldBack: () => messages.add('held_back'),
    passedOn: () => messages.add('passed_on'),
    peerUp: (site) => log.info('peer up', { peer: site }),
    peerDown: (site, reason) => log.warn('peer down', { peer: site, reason }),
    peerRefused: (site, reason) => {
      peerRefusals.add(reason);
      log.warn('peer refused', { peer: site, reason });
    },
    turnedAway: (reason) => turnedAway.add(reason),
    noticeLost: () => lost.add('lost'),
    topicKept: () => topics.add('kept'),
    drained: (site, count) => {
      messages.add('drained', count);
      log.debug('drained', { peer: site, count });
    },
    failed: (what, reason) => log.error('failed', { what, reason }),
  };
}

function sessionEvents(
  metrics: Metrics,
  log: Log,
): Pick<RelayEvents, 'sessionOpened' | 'sessionClosed' | 'sentAway' | 'slowed'> {
  const sessions = metrics.counter(
    'sessions_total',
    'Recipients that opened a session, were sent elsewhere, or were not read for a while',
    'event',
    ['opened', 'sent_away', 'slowed'],
  );
  const closed = metrics.counter('sessions_closed_total', 'Sessions that ended', 'reason', [
    ...(Object.keys(CLOSE_CODES) as CloseReason[]),
    'gone',
  ]);
  return {
    sessionOpened: () => sessions.add('opened'),
    sessionClosed: (reason) => closed.add(reason),
    slowed: () => sessions.add('slowed'),
    sentAway: (count, why) => {
      sessions.add('sent_away', count);
      log.warn('recipients sent elsewhere', { count, why });
    },
  };
}
