/**
 * How the Redis store writes: groups of insertions and of acks, one script for a whole group. A Redis Cluster gets one
 * for each partition, because partitions live at different nodes.
 */
import { type MailboxTag, PARTITIONS, type Partition, partitionOf } from '../core/mailbox.ts';
import type { InsertOutcome, Reference } from '../core/reference.ts';
import { type Burial, type Insertion, StoreUnavailable } from '../ports.ts';
import { changeCommands } from './redis-changes.ts';
import { evalsha, type RedisConnection } from './redis-connection.ts';
import type { Script } from './redis-lua.ts';
import { type Packed, type PackedItem, packBurials, packInsertions } from './redis-packing.ts';
import type { PageName, Pages } from './redis-pages.ts';
import { listOf, seal } from './redis-records.ts';
import { BURY, INSERT } from './redis-write-scripts.ts';

/** What one script takes at most, so that Redis is not kept from its other callers for long. */
const SCRIPT_ITEMS_MAX = 256;
const SCRIPT_BYTES_MAX = 1024 * 1024;
const OUTCOMES: readonly InsertOutcome[] = ['stored', 'duplicate', 'buried', 'expired', 'other_kept'];

/** The caller's wall clock, milliseconds. */
export interface Timed {
  readonly nowMs: number;
}

export interface Writing {
  readonly connection: RedisConnection;
  /** Names this relay to the others. */
  readonly origin: string;
  /** Remembers what is owed. */
  readonly pages: Pages;
  /** Called with the partition in which a page may be that nobody remembers, because no answer came. */
  readonly onUnknown: (home: Partition, atMs: number) => void;
}

/** Stores messages; gives for each its outcome, or a `StoreUnavailable`. Rejects when nothing was sent. */
export function insertGroup(
  writing: Writing,
  items: readonly (Insertion & Timed)[],
): Promise<readonly (InsertOutcome | StoreUnavailable)[]> {
  const packed = items.map(({ message, owedTo, nowMs }) => ({
    mailbox: message.mailbox,
    id: message.id,
    timesMs: [message.acceptedMs, message.expiresMs, nowMs],
    owedTo,
    record: message.record,
  }));
  return writeGroup(writing, packed, {
    script: INSERT,
    kind: 'message',
    pack: packInsertions,
    outcomeOf: (code) => OUTCOMES[code],
    isOwed: (outcome) => outcome === 'stored',
  });
}

/** Stores acks; gives for each whether it is new, or a `StoreUnavailable`. Rejects when nothing was sent. */
export function buryGroup(
  writing: Writing,
  items: readonly (Burial & Timed)[],
): Promise<readonly (boolean | StoreUnavailable)[]> {
  const packed = items.map(({ ack, owedTo, nowMs }) => ({
    mailbox: ack.mailbox,
    id: ack.id,
    timesMs: [ack.expiresMs, nowMs],
    owedTo,
    record: seal(ack.record),
  }));
  return writeGroup(writing, packed, {
    script: BURY,
    kind: 'ack',
    pack: packBurials,
    outcomeOf: (code) => [false, true][code],
    isOwed: (isNew) => isNew,
  });
}

/** What is different for messages and for acks. */
interface Manner<Outcome> {
  readonly script: Script;
  readonly kind: Reference['kind'];
  readonly pack: (items: readonly PackedItem[]) => Packed;
  /** Of the code that the script gives; undefined when it failed. */
  readonly outcomeOf: (code: number) => Outcome | undefined;
  readonly isOwed: (outcome: Outcome) => boolean;
}

/** Some items of one call of a script, and their places among those of the caller. */
interface Batch {
  readonly places: number[];
  readonly items: PackedItem[];
}

/** Writes all items, then says so to the other relays of the site. */
async function writeGroup<Outcome>(
  { connection, origin, pages, onUnknown }: Writing,
  items: readonly PackedItem[],
  { script, kind, pack, outcomeOf, isOwed }: Manner<Outcome>,
): Promise<readonly (Outcome | StoreUnavailable)[]> {
  const sent = inBatches(items, connection.spansPartitions).map((batch) => {
    const packed = pack(batch.items);
    const home = homeOf(connection, batch.items[0]?.mailbox);
    const atMs = Math.min(...batch.items.map(({ timesMs }) => timesMs.at(-1) ?? 0));
    return { batch, packed, home, atMs, names: packed.lists.map((sites) => pages.name(home, atMs, sites)) };
  });
  const commands = sent.map(({ packed, home, names }) =>
    evalsha(script, `o:{${home}}`, [packed.items, ...names.map(({ field }) => field)]),
  );
  const said = changeCommands(origin, kind, items);
  const replies = await connection.run(connection.spansPartitions ? [...commands, ...said] : commands);
  // At a cluster it would go another way than the scripts, and whoever hears it might look before they have run.
  if (!connection.spansPartitions) void connection.run(said).catch(() => undefined);

  const outcomes: (Outcome | StoreUnavailable)[] = [];
  sent.forEach(({ batch, packed, home, atMs, names }, index) => {
    const reply = replies[index];
    const codes = listOf(reply);
    const onPage = new Map<PageName, Reference[]>();
    batch.places.forEach((place, nth) => {
      const outcome = nth < codes.length ? outcomeOf(Number(codes[nth])) : undefined;
      outcomes[place] =
        outcome ?? unavailable(reply instanceof Error ? reply : new Error('something in it is broken'));
      const page = names[(packed.listOf[nth] ?? 0) - 1];
      const item = batch.items[nth];
      if (page === undefined || item === undefined || outcome === undefined || !isOwed(outcome)) return;
      const reference = { kind, mailbox: item.mailbox, id: item.id };
      const references = onPage.get(page);
      if (references === undefined) onPage.set(page, [reference]);
      else references.push(reference);
    });
    for (const [page, references] of onPage) pages.opened(page, references);
    if (reply instanceof Error) onUnknown(home, atMs);
  });
  return outcomes;
}

/** Where the page of a batch is: one Redis has them all in one place. */
function homeOf({ spansPartitions }: RedisConnection, mailbox: MailboxTag | undefined): Partition {
  const [first = '00' as Partition] = PARTITIONS;
  return spansPartitions || mailbox === undefined ? first : partitionOf(mailbox);
}

/** Items of one partition one after the other, no more in a batch than one script takes and reaches. */
function inBatches(items: readonly PackedItem[], spansPartitions: boolean): readonly Batch[] {
  const batches: Batch[] = [];
  let batch: Batch | undefined;
  let bytes = 0;
  for (const places of byPartition(items)) {
    if (!spansPartitions) batch = undefined;
    for (const place of places) {
      const item = items[place];
      if (item === undefined) continue;
      if (batch === undefined || isFull(batch.items.length + 1, bytes + item.record.length)) {
        batch = { places: [], items: [] };
        batches.push(batch);
        bytes = 0;
      }
      batch.places.push(place);
      batch.items.push(item);
      bytes += item.record.length;
    }
  }
  return batches;
}

/** The places of the items of each partition. */
function byPartition(items: readonly PackedItem[]): Iterable<readonly number[]> {
  const places = new Map<Partition, number[]>();
  items.forEach(({ mailbox }, place) => {
    const partition = partitionOf(mailbox);
    const some = places.get(partition);
    if (some === undefined) places.set(partition, [place]);
    else some.push(place);
  });
  return places.values();
}

function isFull(items: number, bytes: number): boolean {
  return items > SCRIPT_ITEMS_MAX || bytes > SCRIPT_BYTES_MAX;
}

/** What a caller gets for an error of Redis or of the connection to it. */
export function unavailable(cause: Error): StoreUnavailable {
  return new StoreUnavailable('redis did not confirm', { cause });
}
