/**
 * How the Redis store writes: groups of insertions, acks and settlements, one script for each partition.
 */
import { type MailboxTag, type Partition, partitionOf } from '../core/mailbox.ts';
import { type Message, openMessage } from '../core/message.ts';
import type { InsertOutcome } from '../core/reference.ts';
import { type Burial, type Insertion, type Settlement, StoreUnavailable } from '../ports.ts';
import { type Argument, evalsha, type RedisCommand, type RedisConnection } from './redis-connection.ts';
import { asBuffer, listOf, member, outboxKey, rawId, seal, TAG_LENGTH } from './redis-records.ts';
import { BURY, INSERT, type Script } from './redis-scripts.ts';

/**
 * Where every relay of the site hears of changed mailboxes: who changed them, as long as a tag, and their tags, one
 * after the other; or who passes a message that is not stored, `PASSED` and its record as base64.
 */
export const CHANNEL = 'changed';
/** No tag begins with it. */
const PASSED = '!';
const SCRIPT_ITEMS_MAX = 128;
const WAKE_TAGS_MAX = 512;
const OUTCOMES: readonly InsertOutcome[] = ['stored', 'duplicate', 'buried', 'expired', 'other_kept'];

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
  return writeGroup(
    writing,
    INSERT,
    items,
    ({ message }) => message.mailbox,
    ({ message, owedTo }) => [
      message.mailbox,
      rawId(message.id),
      message.acceptedMs,
      message.expiresMs,
      asBuffer(message.record),
      owedTo.length,
      ...owedTo,
    ],
    (code) => OUTCOMES[code],
  );
}

/** Stores acks; gives for each whether it is new, or a `StoreUnavailable`. Rejects when nothing was sent. */
export function buryGroup(
  writing: Writing,
  items: readonly (Burial & Timed)[],
): Promise<readonly (boolean | Error)[]> {
  return writeGroup(
    writing,
    BURY,
    items,
    ({ ack }) => ack.mailbox,
    ({ ack, owedTo }) => [
      ack.mailbox,
      rawId(ack.id),
      ack.expiresMs,
      seal(ack.record),
      owedTo.length,
      ...owedTo,
    ],
    (code) => code === 1,
  );
}

/**
 * One script for each partition and time of call, then one wake-up for all mailboxes; a mailbox to which nothing
 * new came is woken needlessly, which costs a look.
 */
async function writeGroup<Item extends Timed, Outcome>(
  { connection, origin, onFull }: Writing,
  script: Script,
  items: readonly Item[],
  mailboxOf: (item: Item) => MailboxTag,
  argumentsOf: (item: Item) => readonly Argument[],
  outcomeOf: (code: number) => Outcome | undefined,
): Promise<readonly (Outcome | Error)[]> {
  const batches: { places: number[]; partition: Partition; nowMs: number; args: Argument[] }[] = [];
  const open = new Map<string, (typeof batches)[number]>();
  for (const [place, item] of items.entries()) {
    const partition = partitionOf(mailboxOf(item));
    const key = `${partition} ${item.nowMs}`;
    let batch = open.get(key);
    if (batch === undefined || batch.places.length >= SCRIPT_ITEMS_MAX) {
      batch = { places: [], partition, nowMs: item.nowMs, args: [partition, item.nowMs] };
      open.set(key, batch);
      batches.push(batch);
    }
    batch.places.push(place);
    batch.args.push(...argumentsOf(item));
  }
  const replies = await connection.run([
    ...batches.map(({ partition, args }) => evalsha(script, `x:{${partition}}`, args)),
    ...wakeUps(origin, new Set(items.map(mailboxOf))),
  ]);
  const outcomes: (Outcome | Error)[] = [];
  for (const [index, { places }] of batches.entries()) {
    const reply = replies[index];
    const codes = listOf(reply);
    const full = Number(codes[places.length] ?? 0);
    if (full > 0) onFull(full);
    for (const [nth, place] of places.entries()) {
      const outcome = reply instanceof Error ? undefined : outcomeOf(Number(codes[nth]));
      outcomes[place] = outcome ?? unavailable(reply instanceof Error ? reply : new Error('malformed reply'));
    }
  }
  return outcomes;
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
  return ['PUBLISH', CHANNEL, `${origin}${PASSED}${asBuffer(record).toString('base64')}`];
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
  const byOutbox = Map.groupBy(items, ({ site, reference }) =>
    outboxKey(partitionOf(reference.mailbox), site),
  );
  const replies = await connection.run(
    [...byOutbox].map(([key, settled]) => [
      'ZREM',
      key,
      ...settled.map(({ reference }) => member(reference)),
    ]),
  );
  const failed = replies.find((reply) => reply instanceof Error);
  return items.map(() => (failed === undefined ? undefined : unavailable(failed)));
}

/** What a caller gets for an error of Redis or of the connection to it. */
export function unavailable(cause: Error): StoreUnavailable {
  return new StoreUnavailable('redis did not confirm', { cause });
}
