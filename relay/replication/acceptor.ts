/**
 * The write path: a message is offered to the own store and to every other site at the same time, and is accepted
 * once enough different providers have said that it is durable.
 *
 * What happens after the answer matters as much. The outbox entries that the insert made stay until each site has
 * confirmed; and the sites that confirmed are told of each other, so that each knows what it still owes. If this
 * relay dies in between, the others find the debt in their own outboxes.
 */
import type { SiteEntry, SiteName } from '../../fleet/manifest/manifest.ts';
import type { Clock } from '../../system/clock.ts';
import type { SignedAck } from '../core/ack.ts';
import { type CopyCount, countCopies } from '../core/copies.ts';
import type { Message } from '../core/message.ts';
import type { OfferedRecord, PutOutcome } from '../core/peer-frame.ts';
import { type InsertOutcome, referenceTo } from '../core/reference.ts';
import type { RelayEvents } from '../events.ts';
import { type Burial, type MessageStore, type PeerLink, PeerUnreachable } from '../ports.ts';
import { type Batcher, createBatcher } from './batcher.ts';
import type { Notices } from './notices.ts';

export interface AcceptorConfig {
  readonly own: SiteEntry;
  /** Of the manifest in force; the list changes with it. */
  readonly sites: readonly SiteEntry[];
  readonly copiesNeeded: number;
  /** How long a sender waits at most, milliseconds. */
  readonly deadlineMs: number;
}

export interface AcceptorDeps {
  readonly store: MessageStore;
  /** To the other sites of the manifest in force; the list changes with it. */
  readonly links: readonly PeerLink[];
  readonly notices: Notices;
  readonly clock: Clock;
  readonly events: RelayEvents;
}

/**
 * `accepted`: enough providers hold the message. `other_kept`: enough hold another message that came first with the
 * same idempotency key. `unconfirmed`: neither was confirmed within the deadline.
 */
type Acceptance = 'accepted' | 'other_kept' | 'unconfirmed';

export interface Acceptor {
  accept(message: Message): Promise<Acceptance>;
  /** Deletes here and tells the other sites. Rejects with `StoreUnavailable` when it was not done here. */
  readonly bury: (ack: SignedAck) => Promise<void>;
}

export type CreateAcceptor = (config: AcceptorConfig, deps: AcceptorDeps) => Acceptor;

/** Between two frames to a site that has not answered the first yet, milliseconds. Senders wait for puts. */
const PUT_PACE_MS = 3;
const BURY_PACE_MS = 60;
/** A store or a site that hangs is noticed within seconds; until then no more than this is kept for it. */
const BATCH = {
  itemsMax: 256,
  bytesMax: 1024 * 1024,
  waitingMax: 16_384,
  waitingBytesMax: 64 * 1024 * 1024,
} as const;

/** The write path of a relay. Its `accept` never rejects: without enough copies in time the outcome says so. */
export function createAcceptor(config: AcceptorConfig, deps: AcceptorDeps): Acceptor {
  const { store, clock } = deps;
  const own = config.own.name;
  const others = (): readonly SiteName[] =>
    config.sites.map(({ name }) => name).filter((name) => name !== own);
  const inserts = createBatcher<Message, InsertOutcome>({
    ...BATCH,
    callsMax: 4,
    sizeOf: ({ record }) => record.length,
    run: (messages) => {
      const owedTo = others();
      return store.insert(
        messages.map((message) => ({ message, owedTo })),
        clock.wallMs(),
      );
    },
  });
  const burials = createBatcher<Burial, boolean>({
    ...BATCH,
    callsMax: 4,
    sizeOf: ({ ack }) => ack.record.length,
    run: (items) => store.bury(items, clock.wallMs()),
  });
  const peers = new WeakMap<PeerLink, Peer>();
  const peerAt = (link: PeerLink): Peer => {
    const known = peers.get(link);
    if (known !== undefined) return known;
    const made = {
      link,
      puts: createPeerBatcher({ ms: PUT_PACE_MS, clock }, (records) =>
        putTo(link, records, config.deadlineMs),
      ),
      buries: createPeerBatcher({ ms: BURY_PACE_MS, clock }, (records) =>
        buryAt(link, records, config.deadlineMs),
      ),
    };
    peers.set(link, made);
    return made;
  };
  const reachable = (): readonly Peer[] => deps.links.filter((link) => link.isUp()).map(peerAt);

  return {
    accept: (message) => {
      const offer: OfferedRecord = { record: message.record, holders: [] };
      const peersNow = reachable();
      const { acceptance, hear } = confirming(message, 1 + peersNow.length, config, deps);
      inserts.offer(message, (outcome) => hear(own, outcome));
      for (const { link, puts } of peersNow) puts.offer(offer, (outcome) => hear(link.site, outcome));
      return acceptance;
    },
    bury: async (ack) => {
      await burials.add({ ack, owedTo: others() });
      const offer: OfferedRecord = { record: ack.record, holders: [own] };
      const holders = new Set<SiteName>([own]);
      const told = reachable().map(async ({ link, buries }) => {
        await buries.add(offer);
        holders.add(link.site);
      });
      // Nobody waits for the others: the outbox has it, and whom it did not reach now is told later.
      void Promise.allSettled(told).then(() =>
        deps.notices.tell(holders, { kind: 'ack', mailbox: ack.mailbox, id: ack.id }),
      );
    },
  };
}

/** Another site, and what travels to it together. */
interface Peer {
  readonly link: PeerLink;
  readonly puts: Batcher<OfferedRecord, PutOutcome>;
  readonly buries: Batcher<OfferedRecord, true>;
}

interface Confirming {
  /** Resolves as soon as enough providers agree, when all have answered, or when the deadline passes. */
  readonly acceptance: Promise<Acceptance>;
  /** What a site says; an Error when nobody knows whether it holds the message. */
  readonly hear: (site: SiteName, outcome: PutOutcome | Error) => void;
}

/** `attempts`: how many sites have been asked. */
function confirming(
  message: Message,
  attempts: number,
  { sites, copiesNeeded, deadlineMs }: AcceptorConfig,
  { clock, events, notices }: AcceptorDeps,
): Confirming {
  const startedMs = clock.monotonicMs();
  const copies = countCopies(sites, copiesNeeded);
  let others: CopyCount | undefined;
  let left = attempts;
  let isDecided = false;
  const { promise, resolve } = Promise.withResolvers<Acceptance>();
  const decide = (acceptance: Acceptance): void => {
    if (isDecided) return;
    isDecided = true;
    resolve(acceptance);
    cancelDeadline();
    events.acceptedIn(clock.monotonicMs() - startedMs, acceptance !== 'unconfirmed');
  };
  const cancelDeadline = clock.after(deadlineMs, () => decide('unconfirmed'));
  return {
    acceptance: promise,
    hear: (site, outcome) => {
      // Buried counts as held: its recipient has it already, and nothing is left to lose.
      if (outcome === 'other_kept') {
        others ??= countCopies(sites, copiesNeeded);
        if (others.confirm(site)) decide('other_kept');
      } else if (isHeld(outcome) && copies.confirm(site)) decide('accepted');
      left -= 1;
      if (left > 0) return;
      decide('unconfirmed');
      notices.tell(copies.holders, referenceTo(message));
    },
  };
}

function isHeld(outcome: PutOutcome | Error): boolean {
  return outcome !== 'expired' && outcome !== 'not_kept' && !(outcome instanceof Error);
}

function createPeerBatcher<Answer>(
  pace: { readonly ms: number; readonly clock: Clock },
  run: (records: readonly OfferedRecord[]) => Promise<readonly Answer[]>,
): Batcher<OfferedRecord, Answer> {
  return createBatcher({ ...BATCH, callsMax: 8, sizeOf: ({ record }) => record.length, run, pace });
}

async function putTo(
  link: PeerLink,
  records: readonly OfferedRecord[],
  timeoutMs: number,
): Promise<readonly PutOutcome[]> {
  const reply = await link.call({ type: 'put', records }, timeoutMs);
  if (reply.type !== 'outcomes') throw new PeerUnreachable(`put was answered by ${reply.type}`);
  return reply.outcomes;
}

async function buryAt(
  link: PeerLink,
  records: readonly OfferedRecord[],
  timeoutMs: number,
): Promise<readonly true[]> {
  const reply = await link.call({ type: 'bury', records }, timeoutMs);
  if (reply.type !== 'done') throw new PeerUnreachable(`bury was answered by ${reply.type}`);
  return records.map(() => true);
}
