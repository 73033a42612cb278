/**
 * How the Redis store reads records: what does not verify is left out, and forgotten, so that the copy of another
 * site counts as new.
 */
import { createHash } from 'node:crypto';
import type { SignedAck } from '../core/ack.ts';
import { type MailboxTag, partitionOf } from '../core/mailbox.ts';
import type { Message } from '../core/message.ts';
import { type Asked, type Reference, referenceTo } from '../core/reference.ts';
import { evalsha, type RedisCommand } from './redis-connection.ts';
import { member } from './redis-packing.ts';
import { listOf, namesIn, rawId, readAck, readMessage, unseal } from './redis-records.ts';
import { DISCARD } from './redis-scripts.ts';

const READ_REFERENCES_MAX = 256;

/** Sends commands; rejects with `StoreUnavailable` when one of them fails. */
export type Run = (commands: readonly RedisCommand[]) => Promise<readonly unknown[]>;

/** A record that does not verify, and its bytes; none when only its index entry is left. */
export interface Damaged {
  readonly reference: Reference;
  readonly value: Buffer;
}

/** Sorts the reply of the PENDING script into messages and damaged records. */
export function readPending(
  mailbox: MailboxTag,
  reply: unknown,
): { readonly messages: readonly Message[]; readonly damaged: readonly Damaged[] } {
  const messages: Message[] = [];
  const damaged: Damaged[] = [];
  const parts = listOf(reply);
  for (let at = 0; at + 1 < parts.length; at += 2) {
    const id = parts[at];
    const record = parts[at + 1];
    if (!Buffer.isBuffer(id) || !Buffer.isBuffer(record)) continue;
    const reference = referenceTo({ mailbox, id: id.toString('base64url') });
    const message = readMessage(reference, record);
    if (message === undefined) damaged.push({ reference, value: record });
    else messages.push(message);
  }
  return { messages, damaged };
}

/** See `MessageStore.load`; in steps, so that a long list does not exceed the time-out of a command. */
export async function load(
  references: readonly Reference[],
  run: Run,
  discard: (damaged: readonly Damaged[]) => Promise<void>,
  pepper: Uint8Array,
): Promise<readonly (Message | SignedAck | undefined)[]> {
  const found: (Message | SignedAck | undefined)[] = [];
  const damaged: Damaged[] = [];
  for (const some of stepsOf(references)) {
    const values = await run(some.map(recordCommand));
    for (const [index, reference] of some.entries()) {
      const value = values[index];
      if (!Buffer.isBuffer(value)) {
        found.push(undefined);
        continue;
      }
      const thing =
        reference.kind === 'message' ? readMessage(reference, value) : readAck(reference, value, pepper);
      if (thing === undefined) damaged.push({ reference, value });
      found.push(thing);
    }
  }
  await discard(damaged);
  return found;
}

/** See `MessageStore.missing`. An ack is checked by its seal only, which costs no signature. */
export async function findMissing(
  references: readonly Asked[],
  run: Run,
  discard: (damaged: readonly Damaged[]) => Promise<void>,
): Promise<readonly Asked[]> {
  const absent: Asked[] = [];
  const damaged: Damaged[] = [];
  for (const some of stepsOf(references)) {
    const replies = await run(
      some.flatMap((reference) => [
        recordCommand(reference),
        buriedCommand(reference),
        ['ZSCORE', `x:{${partitionOf(reference.mailbox)}}`, member(reference)],
      ]),
    );
    for (const [index, reference] of some.entries()) {
      const [value, buried, score] = replies.slice(3 * index, 3 * index + 3);
      if (Buffer.isBuffer(value)) {
        // Without an expiry it would be kept for ever and compared never: it has to come again.
        const isListed = Buffer.isBuffer(score);
        if (!isSealed(reference, value)) damaged.push({ reference, value });
        else if (isListed && Number(score.toString()) >= livesElsewhereMs(reference)) continue;
      }
      if (reference.kind === 'ack' || buried !== 1) absent.push(reference);
    }
  }
  await discard(damaged);
  return absent;
}

/** See `MessageStore.buriedBy`. */
export async function findBurials(
  messages: readonly Reference[],
  run: Run,
): Promise<readonly (Reference | undefined)[]> {
  const acks = await askMailboxes(messages, 't', 'HMGET', run);
  return messages.map(({ mailbox }, place) => {
    const ack = acks[place];
    return Buffer.isBuffer(ack) ? { kind: 'ack', mailbox, id: ack.toString('base64url') } : undefined;
  });
}

/** See `MessageStore.indexed`. */
export async function findIndexed(messages: readonly Reference[], run: Run): Promise<readonly boolean[]> {
  return (await askMailboxes(messages, 'i', 'ZMSCORE', run)).map((score) => Buffer.isBuffer(score));
}

/** What one key of a mailbox says of each message, in the order asked; one command for each mailbox. */
async function askMailboxes(
  messages: readonly Reference[],
  key: 't' | 'i',
  command: 'HMGET' | 'ZMSCORE',
  run: Run,
): Promise<readonly unknown[]> {
  const said = new Map<Reference, unknown>();
  for (const some of stepsOf(messages)) {
    const groups = [...Map.groupBy(some, ({ mailbox }) => mailbox)];
    const replies = await run(
      groups.map(([mailbox, own]) => [
        command,
        `${key}:{${partitionOf(mailbox)}}:${mailbox}`,
        ...own.map(({ id }) => rawId(id)),
      ]),
    );
    for (const [index, [, own]] of groups.entries()) {
      const found = listOf(replies[index]);
      for (const [place, message] of own.entries()) said.set(message, found[place]);
    }
  }
  return messages.map((message) => said.get(message));
}

/** How long a message lives elsewhere; how long a tombstone is remembered is each site's own affair. */
function livesElsewhereMs({ kind, untilMs = 0 }: Asked): number {
  return kind === 'message' ? untilMs : 0;
}

function isSealed(reference: Reference, value: Buffer): boolean {
  return reference.kind === 'message'
    ? readMessage(reference, value) !== undefined
    : unseal(value) !== undefined;
}

/** Which of the things that a partition lists are damaged or incomplete, so that they must come from elsewhere. */
export async function findDamaged(references: readonly Reference[], run: Run): Promise<readonly Damaged[]> {
  const damaged: Damaged[] = [];
  for (const some of stepsOf(references)) {
    const values = await run(some.map(recordCommand));
    const whole: { reference: Reference; value: Buffer }[] = [];
    for (const [index, reference] of some.entries()) {
      const value = values[index];
      const isWhole = Buffer.isBuffer(value) && isSealed(reference, value);
      if (isWhole) whole.push({ reference, value });
      else damaged.push({ reference, value: Buffer.isBuffer(value) ? value : Buffer.alloc(0) });
    }
    const found = await run(whole.map(({ reference, value }) => indexCommand(reference, value)));
    for (const [index, thing] of whole.entries()) {
      const reply = found[index];
      const isFound = Array.isArray(reply) ? reply.every((one) => one !== null) : reply !== null;
      if (!isFound) damaged.push(thing);
    }
  }
  return damaged;
}

/** Asks for what makes a record more than bytes: a message's place in its mailbox, an ack's tombstones. */
function indexCommand({ kind, mailbox, id }: Reference, value: Buffer): RedisCommand {
  const key = `{${partitionOf(mailbox)}}:${mailbox}`;
  if (kind === 'message') return ['ZSCORE', `i:${key}`, rawId(id)];
  return ['HMGET', `t:${key}`, ...namesIn(value)];
}

function* stepsOf<Some extends Reference>(references: readonly Some[]): Generator<readonly Some[]> {
  for (let at = 0; at < references.length; at += READ_REFERENCES_MAX) {
    yield references.slice(at, at + READ_REFERENCES_MAX);
  }
}

function recordCommand({ kind, mailbox, id }: Reference): RedisCommand {
  const partition = partitionOf(mailbox);
  return kind === 'message'
    ? ['HGET', `m:{${partition}}:${mailbox}`, rawId(id)]
    : ['HGET', `a:{${partition}}`, Buffer.concat([Buffer.from(mailbox, 'latin1'), rawId(id)])];
}

function buriedCommand({ mailbox, id }: Reference): RedisCommand {
  return ['HEXISTS', `t:{${partitionOf(mailbox)}}:${mailbox}`, rawId(id)];
}

/** Forgets a damaged record, unless it has been replaced since it was read. */
export function discardCommand(reference: Reference, value: Buffer): RedisCommand {
  const partition = partitionOf(reference.mailbox);
  const sha = createHash('sha1').update(value).digest('hex');
  const kind = reference.kind === 'message' ? 'm' : 'a';
  return evalsha(DISCARD, `x:{${partition}}`, [partition, kind, reference.mailbox, rawId(reference.id), sha]);
}
