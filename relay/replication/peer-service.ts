/**
 * What a relay does for the relays of other sites. Nothing is refused for quota or load that another site has
 * already accepted; what is refused is what cannot be believed: a damaged record, a message that would live longer
 * than any may, an ack that its mailbox key did not sign.
 */
import type { SiteEntry, SiteName } from '../../fleet/manifest/manifest.ts';
import type { Clock } from '../../system/clock.ts';
import { sliceOf, totalOf } from '../core/digest.ts';
import { type MailboxTag, PARTITIONS } from '../core/mailbox.ts';
import { type Message, openForeignMessage } from '../core/message.ts';
import type { OfferedRecord, PeerReply, PeerRequest, PutOutcome } from '../core/peer-frame.ts';
import { type Listed, type Reference, referenceTo } from '../core/reference.ts';
import { openForeignTombstone } from '../core/tombstone.ts';
import type { RelayEvents } from '../events.ts';
import { assertWritten, type Burial, type Insertion, type MessageStore, StoreUnavailable } from '../ports.ts';
import { isTransient } from './transients.ts';

export interface PeerServiceDeps {
  readonly own: SiteName;
  readonly sites: readonly SiteEntry[];
  readonly pepper: Uint8Array;
  readonly store: MessageStore;
  readonly clock: Clock;
  readonly events: RelayEvents;
  /** Takes a message that is not stored (`transients.ts`). */
  readonly arrivedNow: (message: Message) => PutOutcome;
  /** Retracts a message that came just now if its topic has a newer one. Never rejects. */
  readonly replaceOlder: (message: Message) => Promise<void> | undefined;
}

/** Answers one request; `from` is the site whose pinned key the connection proved. Never rejects. */
export type PeerService = (request: PeerRequest, from: SiteName) => Promise<PeerReply>;

const LIST_PAGE = 512;
/** Pages of the store that are looked at for one page of an answer. */
const LIST_STEPS_MAX = 8;
/** Messages at the head of a mailbox that one site tells another of. */
const WAITING_MAX = 64;
/** Records that are read at once for a reply of records. */
const LOAD_STEP = 32;
/** A reply of records ends after the record that passes this. */
const RECORDS_BYTES = 1024 * 1024;

/** Serves the frames of other sites (docs/protocol.md, peers). Rejects only for a bug. */
export function createPeerService(deps: PeerServiceDeps): PeerService {
  return async (request, from) => {
    try {
      const reply = await serve(request, from, deps);
      if (reply.type === 'refused') deps.events.peerRefused(from, reply.reason);
      return reply;
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
      deps.events.peerRefused(from, 'store_unavailable');
      return { type: 'refused', reason: 'store_unavailable' };
    }
  };
}

async function serve(request: PeerRequest, from: SiteName, deps: PeerServiceDeps): Promise<PeerReply> {
  const { store } = deps;
  switch (request.type) {
    case 'put':
      return put(request.records, from, deps);
    case 'bury':
      return bury(request.records, deps);
    case 'held':
      await store.settle([request]);
      return { type: 'done' };
    case 'list':
      return list(request, store);
    case 'totals': {
      const digests = await store.digest(PARTITIONS, request.fromMs);
      return { type: 'totalled', totals: digests.map((digest) => digest && totalOf(digest)) };
    }
    case 'digests':
      return { type: 'digested', digests: await store.digest(request.partitions, request.fromMs) };
    case 'waiting':
      return waiting(request.mailbox, deps);
    case 'pull':
      return pull(request.references, store);
    case 'buried':
      return tombstones(request.references, store);
    case 'ping':
      return { type: 'pong', wallMs: deps.clock.wallMs() };
  }
}

/** The copy that is still owed: the receiver owes it to every site that is not known to hold it. */
function owedBesides(holders: readonly SiteName[], { own, sites }: PeerServiceDeps): readonly SiteName[] {
  return sites.map(({ name }) => name).filter((name) => name !== own && !holders.includes(name));
}

async function put(
  records: readonly OfferedRecord[],
  from: SiteName,
  deps: PeerServiceDeps,
): Promise<PeerReply> {
  const nowMs = deps.clock.wallMs();
  const outcomes: PutOutcome[] = records.map(() => 'not_kept');
  const insertions: Insertion[] = [];
  const places: number[] = [];
  const owedToAll = owedBesides([], deps);
  records.forEach(({ record, holders }, place) => {
    const message = openForeignMessage(record, nowMs);
    if (!message.ok) {
      deps.events.unbelieved(message.fault);
      return;
    }
    if (isTransient(message.value)) {
      outcomes[place] = deps.arrivedNow(message.value);
      return;
    }
    const owedTo = holders.length === 0 ? owedToAll : owedBesides(holders, deps);
    insertions.push({ message: message.value, owedTo });
    places.push(place);
  });
  const stored = await deps.store.insert(insertions, nowMs);
  const isInPart = stored.some((outcome) => outcome instanceof StoreUnavailable);
  if (isInPart) deps.events.peerRefused(from, 'store_unavailable');
  stored.forEach((outcome, index) => {
    const place = places[index];
    if (outcome instanceof StoreUnavailable) return;
    if (place !== undefined) outcomes[place] = outcome;
    // The sender's relay waits for the copy, not for what it replaces.
    const message = insertions[index]?.message;
    if (outcome === 'stored' && message !== undefined) void deps.replaceOlder(message);
  });
  return { type: 'outcomes', outcomes };
}

async function bury(records: readonly OfferedRecord[], deps: PeerServiceDeps): Promise<PeerReply> {
  const burials: Burial[] = [];
  for (const { record, holders } of records) {
    const ack = openForeignTombstone(record, deps.pepper, deps.clock.wallMs());
    if (!ack.ok) return { type: 'refused', reason: ack.fault };
    burials.push({ ack: ack.value, owedTo: owedBesides(holders, deps) });
  }
  assertWritten(await deps.store.bury(burials, deps.clock.wallMs()));
  return { type: 'done' };
}

/** A page of the slices asked for: what is left out does not count towards it, but looking at it does. */
async function list(request: PeerRequest & { type: 'list' }, store: MessageStore): Promise<PeerReply> {
  const references: Listed[] = [];
  let { cursor } = request;
  for (let step = 0; step < LIST_STEPS_MAX && references.length < LIST_PAGE; step += 1) {
    const page = await store.list(request.partition, cursor, LIST_PAGE);
    for (const listed of page.references) {
      const isAskedFor = ((request.slices >> BigInt(sliceOf(listed))) & 1n) === 1n;
      if (isAskedFor && listed.untilMs > request.fromMs) references.push(listed);
    }
    cursor = page.cursor;
    if (cursor === '') break;
  }
  return { type: 'page', references, cursor };
}

async function waiting(mailbox: MailboxTag, { store, clock }: PeerServiceDeps): Promise<PeerReply> {
  const messages = await store.pending(mailbox, WAITING_MAX, clock.wallMs());
  const references = messages.map((message) => ({ ...referenceTo(message), untilMs: message.expiresMs }));
  return { type: 'page', references, cursor: '' };
}

async function pull(references: readonly Reference[], store: MessageStore): Promise<PeerReply> {
  const messages: Uint8Array[] = [];
  const acks: Uint8Array[] = [];
  let bytes = 0;
  let served = 0;
  // In steps: whoever asks for thousands of large messages must not have them all read for the few that an answer takes.
  while (served < references.length && bytes <= RECORDS_BYTES) {
    for (const found of await store.load(references.slice(served, served + LOAD_STEP))) {
      if (bytes > RECORDS_BYTES) break;
      served += 1;
      if (found === undefined) continue;
      bytes += found.record.length;
      if ('body' in found) messages.push(found.record);
      else acks.push(found.record);
    }
  }
  return { type: 'records', served, messages, acks };
}

/** Of several messages that one ack buries, the first brings it. */
async function tombstones(messages: readonly Reference[], store: MessageStore): Promise<PeerReply> {
  const burials = await store.buriedBy(messages);
  const wanted = new Map(burials.flatMap((ack) => (ack === undefined ? [] : [[keyOf(ack), ack] as const])));
  const loaded = await store.load([...wanted.values()]);
  const records = new Map([...wanted.keys()].map((key, place) => [key, loaded[place]?.record]));
  const acks: Uint8Array[] = [];
  let bytes = 0;
  let served = 0;
  for (const ack of burials) {
    if (bytes > RECORDS_BYTES) break;
    served += 1;
    const record = ack === undefined ? undefined : records.get(keyOf(ack));
    if (ack === undefined || record === undefined) continue;
    records.delete(keyOf(ack));
    bytes += record.length;
    acks.push(record);
  }
  return { type: 'tombstones', served, acks };
}

function keyOf({ mailbox, id }: Reference): string {
  return `${mailbox} ${id}`;
}
