/**
 * How the Redis store writes: groups of insertions, acks and settlements, one script for a whole group. A Redis Cluster
 * gets one for each partition, because partitions live at different nodes.
 */
import { type MailboxTag, partitionOf } from '../core/mailbox.ts';
import { type Message, openMessage } from '../core/message.ts';
import type { InsertOutcome } from '../core/reference.ts';
import { type Burial, type Insertion, type Settlement, StoreUnavailable } from '../ports.ts';
import { evalsha, type RedisCommand, type RedisConnection } from './redis-connection.ts';
import type { Script } from './redis-lua.ts';
import {
  type Outbox,
  type Packed,
  type PackedItem,
  packBurials,
  packInsertions,
  packSettlements,
} from './redis-packing.ts';
import { listOf, seal, TAG_LENGTH } from './redis-records.ts';
import { BURY, INSERT, SETTLE } from './redis-write-scripts.ts';

/**
 * Where every relay of the site hears of changed mailboxes: who changed them, as long as a tag, and their tags, one
 * after the other; or who passes a message that is not stored, `PASSED` and its record as base64.
 */
export const CHANNEL = 'changed';
/** No tag begins with it. */
const PASSED = '!';
/** An origin that no relay has. */
const NOBODY: string = '.'.repeat(TAG_LENGTH);
/** What one script takes at most, so that Redis is not kept from its other callers for long. */
const SCRIPT_ITEMS_MAX = 256;
const SCRIPT_BYTES_MAX = 1024 * 1024;
/** Members of one outbox that one script takes out. */
const SETTLED_MAX = 1_024;
const WAKE_TAGS_MAX = 512;
const OUTCOMES: readonly InsertOutcome[] = ['stored', 'duplicate', 'buried', 'expired', 'other_kept'];
/** A script that failed while it ran, other than for want of memory: something that it met is not what it should be. */
const BROKEN = /^(?:ERR|WRONGTYPE)\b/;

/** The caller's wall clock, milliseconds. */
export interface Timed {
  readonly nowMs: number;
}

export interface Writing {
  readonly connection: RedisConnection;
  /** Names this relay in wake-ups. */
  readonly origin: string;
  /** Called with how many entries found no room in an outbox. */
  readonly onFull: (count: number) => void;
}

/** Stores messages; gives for each its outcome, or a `StoreUnavailable`. Rejects when nothing was sent. */
export function insertGroup(
  writing: Writing,
  items: readonly (Insertion & Timed)[],
): Promise<readonly (InsertOutcome | Error)[]> {
  const packed = items.map(({ message, owedTo, nowMs }) => ({
    mailbox: message.mailbox,
    id: message.id,
    timesMs: [message.acceptedMs, message.expiresMs, nowMs],
    owedTo,
    record: message.record,
  }));
  return writeGroup(writing, INSERT, packed, packInsertions, (code) => OUTCOMES[code]);
}

/** Stores acks; gives for each whether it is new, or a `StoreUnavailable`. Rejects when nothing was sent. */
export function buryGroup(
  writing: Writing,
  items: readonly (Burial & Timed)[],
): Promise<readonly (boolean | Error)[]> {
  const packed = items.map(({ ack, owedTo, nowMs }) => ({
    mailbox: ack.mailbox,
    id: ack.id,
    timesMs: [ack.expiresMs, nowMs],
    owedTo,
    record: seal(ack.record),
  }));
  return writeGroup(writing, BURY, packed, packBurials, (code) => code === 1);
}

/** Some items of one call of a script, and their places among those of the caller. */
interface Batch {
  readonly places: number[];
  readonly items: PackedItem[];
}

/**
 * Writes all items, then wakes up all mailboxes; one to which nothing new came is woken needlessly, which costs a
 * look. A partition in which something is broken takes no other with it: its batch is repeated, partition by partition.
 */
async function writeGroup<Outcome>(
  { connection, origin, onFull }: Writing,
  script: Script,
  items: readonly PackedItem[],
  pack: (items: readonly PackedItem[]) => Packed,
  outcomeOf: (code: number) => Outcome | undefined,
): Promise<readonly (Outcome | Error)[]> {
  const outcomes: (Outcome | Error)[] = [];
  const read = ({ places }: Batch, reply: unknown): void => {
    const codes = listOf(reply);
    const full = Number(codes[places.length] ?? 0);
    if (full > 0) onFull(full);
    for (const [nth, place] of places.entries()) {
      const outcome = reply instanceof Error ? undefined : outcomeOf(Number(codes[nth]));
      outcomes[place] = outcome ?? unavailable(reply instanceof Error ? reply : new Error('malformed reply'));
    }
  };
  const commandOf = (batch: Batch): RedisCommand =>
    evalsha(script, expiryKeyOf(batch.items[0]?.mailbox), pack(batch.items));

  const byPartition = gather(items);
  const batches = connection.spansPartitions ? join(byPartition) : byPartition;
  const mailboxes = new Set(items.map(({ mailbox }) => mailbox));
  const wake = wakeUps(origin, mailboxes);
  const replies = await connection.run([...batches.map(commandOf), ...wake]);
  const broken: Batch[] = [];
  for (const [index, batch] of batches.entries()) {
    const reply = replies[index];
    if (reply instanceof Error && BROKEN.test(reply.message))
      broken.push(...gather(batch.items, batch.places));
    read(batch, reply);
  }
  if (broken.length > 1) {
    // What the first attempt wrote looks like something old to the second: this relay has to look as well.
    const wakeAll = wakeUps(NOBODY, mailboxes);
    const repeated = await connection.run([...broken.map(commandOf), ...wakeAll]);
    for (const [index, batch] of broken.entries()) read(batch, repeated[index]);
  }
  return outcomes;
}

function expiryKeyOf(mailbox: MailboxTag | undefined): string {
  return `x:{${mailbox?.slice(0, 2) ?? ''}}`;
}

/** Items by partition, no more in a batch than one script takes. `places`: of the items, by default their own order. */
function gather(items: readonly PackedItem[], places?: readonly number[]): readonly Batch[] {
  const batches: Batch[] = [];
  const open = new Map<string, Batch & { bytes: number }>();
  for (const [index, item] of items.entries()) {
    const partition = partitionOf(item.mailbox);
    let batch = open.get(partition);
    if (batch === undefined || isFull(batch.items.length + 1, batch.bytes + item.record.length)) {
      batch = { places: [], items: [], bytes: 0 };
      open.set(partition, batch);
      batches.push(batch);
    }
    batch.places.push(places?.[index] ?? index);
    batch.items.push(item);
    batch.bytes += item.record.length;
  }
  return batches;
}

/** Batches of several partitions in as few as possible. */
function join(batches: readonly Batch[]): readonly Batch[] {
  const joined: Batch[] = [];
  let bytes = 0;
  for (const { places, items } of batches) {
    const added = items.reduce((sum, { record }) => sum + record.length, 0);
    let last = joined.at(-1);
    if (last === undefined || isFull(last.items.length + items.length, bytes + added)) {
      last = { places: [], items: [] };
      joined.push(last);
      bytes = 0;
    }
    last.places.push(...places);
    last.items.push(...items);
    bytes += added;
  }
  return joined;
}

function isFull(items: number, bytes: number): boolean {
  return items > SCRIPT_ITEMS_MAX || bytes > SCRIPT_BYTES_MAX;
}

function wakeUps(origin: string, mailboxes: ReadonlySet<MailboxTag>): readonly RedisCommand[] {
  const tags = [...mailboxes];
  const commands: RedisCommand[] = [];
  for (let at = 0; at < tags.length; at += WAKE_TAGS_MAX) {
    commands.push(['PUBLISH', CHANNEL, origin + tags.slice(at, at + WAKE_TAGS_MAX).join('')]);
  }
  return commands;
}

/** Passes a message that is not stored to the relays that listen; Redis keeps nothing of it. */
export function passCommand(origin: string, { record }: Message): RedisCommand {
  return ['PUBLISH', CHANNEL, `${origin}${PASSED}${Buffer.from(record).toString('base64')}`];
}

/** The message that somebody passed, if that is what was heard. */
export function readPassed(text: string): Message | undefined {
  if (text[TAG_LENGTH] !== PASSED) return undefined;
  const opened = openMessage(Buffer.from(text.slice(TAG_LENGTH + PASSED.length), 'base64'));
  return opened.ok ? opened.value : undefined;
}

/** Takes entries out of outboxes. When one cannot be confirmed, none is. */
export async function settleGroup(
  connection: RedisConnection,
  items: readonly Settlement[],
): Promise<readonly (undefined | Error)[]> {
  const outboxes = [
    ...Map.groupBy(items, ({ site, reference }) => `${partitionOf(reference.mailbox)} ${site}`).values(),
  ].flatMap(outboxesOf);
  const groups = connection.spansPartitions ? [outboxes] : outboxes.map((outbox) => [outbox]);
  const replies = await connection.run(
    groups.map((group) =>
      evalsha(SETTLE, expiryKeyOf(group[0]?.references[0]?.mailbox), packSettlements(group)),
    ),
  );
  const failed = replies.find((reply) => reply instanceof Error);
  return items.map(() => (failed === undefined ? undefined : unavailable(failed)));
}

function outboxesOf(settled: readonly Settlement[]): Outbox[] {
  const outboxes: Outbox[] = [];
  for (let at = 0; at < settled.length; at += SETTLED_MAX) {
    const some = settled.slice(at, at + SETTLED_MAX);
    const site = some[0]?.site ?? '';
    outboxes.push({ site, references: some.map(({ reference }) => reference) });
  }
  return outboxes;
}

/** What a caller gets for an error of Redis or of the connection to it. */
export function unavailable(cause: Error): StoreUnavailable {
  return new StoreUnavailable('redis did not confirm', { cause });
}
