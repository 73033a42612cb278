/**
 * Everything that keeps a message at more than one provider, put together: the links to the other sites, the write
 * path, the outbox, the comparison of sites, the refill after a wipe, and what this relay does for the others.
 */
import type { Manifest, SiteEntry, SiteName } from '../../fleet/manifest/manifest.ts';
import type { Clock } from '../../system/clock.ts';
import type { Log } from '../../system/log.ts';
import type { Random } from '../../system/random.ts';
import type { MailboxTag } from '../core/mailbox.ts';
import type { Message } from '../core/message.ts';
import type { EachLink } from '../each-link.ts';
import type { RelayEvents } from '../events.ts';
import type { MessageStore, PeerLink } from '../ports.ts';
import type { Acceptor, CreateAcceptor } from './acceptor.ts';
import { runAntiEntropy } from './anti-entropy.ts';
import { type BuriedElsewhere, createBuriedElsewhere } from './buried-elsewhere.ts';
import { createDeparted } from './departed.ts';
import { createNotices } from './notices.ts';
import { drainOutbox } from './outbox.ts';
import { createPeerService, type PeerService } from './peer-service.ts';
import { createReadRepair } from './read-repair.ts';
import { createRefill } from './refill.ts';
import { createTopics, type Topics } from './topics.ts';
import { createTransients, type Transients } from './transients.ts';

export interface ReplicationConfig {
  /** The list of its sites changes when a newer one is adopted. */
  readonly manifest: Pick<Manifest, 'sites'>;
  readonly own: SiteEntry;
  readonly pepper: Uint8Array;
  /** How many providers must hold a message before it is accepted. */
  readonly copiesNeeded: number;
  /** How long a sender waits at most, milliseconds. */
  readonly deadlineMs: number;
  /** Age at which an outbox entry is offered again, milliseconds. */
  readonly outboxGraceMs: number;
  readonly createAcceptor: CreateAcceptor;
}

export interface ReplicationDeps {
  readonly store: MessageStore;
  /** Always those of the manifest in force. */
  readonly links: readonly PeerLink[];
  /** Hands a message to a recipient that is connected to this relay; true when one took it. */
  readonly deliverNow: (message: Message) => boolean;
  readonly eachLink: EachLink;
  readonly clock: Clock;
  /** The wall clock by which nothing counts as expired too early, Unix milliseconds. */
  readonly expiryWallMs: () => number;
  readonly random: Random;
  readonly events: RelayEvents;
  readonly log: Log;
}

export interface Replication {
  readonly acceptor: Acceptor;
  readonly topics: Topics;
  readonly transients: Transients;
  readonly service: PeerService;
  readonly isRecovering: () => boolean;
  /** For how long it has been, milliseconds; 0 when the store is whole. */
  readonly recoveringForMs: () => number;
  /** Asks the other sites what waits in the mailboxes of a recipient that has just connected. */
  readonly lookFor: (mailboxes: readonly MailboxTag[]) => void;
  /** Asks the other sites which of the messages that wait for such a recipient were acked there. */
  readonly buriedElsewhere: BuriedElsewhere;
  /** Drains, compares and refills until `stopped`. */
  readonly run: (stopped: AbortSignal) => Promise<void>;
  /** Sends what others still wait to hear. */
  readonly flush: () => Promise<void>;
  /** These sites have left the fleet: nothing is owed to them any more. */
  readonly departed: (sites: readonly SiteName[]) => void;
}

const OUTBOX_INTERVAL_MS = 250;
const REFILL_INTERVAL_MS = 500;

/** Links that connect at once; outbox and refill work from `run` on. */
export function createReplication(config: ReplicationConfig, deps: ReplicationDeps): Replication {
  const { manifest, own, copiesNeeded, pepper } = config;
  const ownName: SiteName = own.name;
  const notices = createNotices({ own: ownName, ...deps });
  const acceptor = config.createAcceptor(
    { own, sites: manifest.sites, copiesNeeded, deadlineMs: config.deadlineMs },
    { ...deps, notices },
  );
  const topics = createTopics({ ...deps, bury: acceptor.bury });
  const transients = createTransients(deps);
  const withPepper = { ...deps, pepper };
  const refill = createRefill({ own, copiesNeeded, intervalMs: REFILL_INTERVAL_MS }, withPepper);
  const buriedElsewhere = createBuriedElsewhere({ own, sites: manifest.sites, copiesNeeded }, withPepper);
  const departed = createDeparted({ ...deps, sites: manifest.sites });
  const outbox = {
    own: ownName,
    others: () => manifest.sites.length - 1,
    graceMs: config.outboxGraceMs,
    intervalMs: OUTBOX_INTERVAL_MS,
  };
  return {
    acceptor,
    topics,
    transients,
    service: createPeerService({
      own: ownName,
      sites: manifest.sites,
      pepper,
      replaceOlder: topics.arrived,
      arrivedNow: transients.arrived,
      ...deps,
    }),
    isRecovering: refill.isRecovering,
    recoveringForMs: refill.recoveringForMs,
    lookFor: createReadRepair({ ...withPepper, buriedElsewhere }),
    buriedElsewhere,
    run: async (stopped) => {
      const draining = deps.eachLink((link, gone) => drainOutbox(link, outbox, withPepper, gone), stopped);
      const comparing = runAntiEntropy({ ...withPepper, isRecovering: refill.isRecovering }, stopped);
      await Promise.all([refill.run(stopped), comparing, draining, departed.run(stopped)]);
    },
    flush: notices.flush,
    departed: (sites) => departed.add(sites),
  };
}
