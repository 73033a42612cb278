/**
 * The message store of production: one Redis of the site, which fsyncs before it answers.
 *
 * This side makes records into commands and replies into messages, and verifies every record that it reads; what
 * must happen together happens in `redis-scripts.ts`. All writes are idempotent, so a write whose outcome is not
 * known is simply repeated by whoever needs it.
 */
import { fail, ok, type Result } from '../../system/result.ts';
import { type MailboxTag, parseMailboxTag, partitionOf } from '../core/mailbox.ts';
import type { Burial, Epoch, Insertion, MailboxUsage, MessageStore, Settlement } from '../ports.ts';
import { groupCommit } from './group-commit.ts';
import {
  connectCommands,
  connectSubscriber,
  evalsha,
  type RedisCommand,
  type RedisConnection,
  type RedisConnectionOptions,
} from './redis-connection.ts';
import { type Damaged, discardCommand, findMissing, load, type Run, readPending } from './redis-reads.ts';
import { listOf, readEpoch, TAG_LENGTH } from './redis-records.ts';
import { createRounds } from './redis-rounds.ts';
import { PENDING, REPLACE_EPOCH, USAGE } from './redis-scripts.ts';
import { readDigests, readPage, verifyPage } from './redis-sets.ts';
import { buryGroup, CHANNEL, insertGroup, settleGroup, type Timed, unavailable } from './redis-writes.ts';

export interface RedisStoreOptions extends RedisConnectionOptions {
  /** The fleet's pepper, under which acks name their mailbox. */
  readonly pepper: Uint8Array;
}

/** Names this relay to the others of its site; as text it is as long as a tag. */
const ORIGIN_BYTES = 18;
/** What a caller gets at most, whatever it asks for. */
const PENDING_MAX = 1_024;
const LIST_MAX = 1_024;

/**
 * Connects to the Redis and checks it. Fails with a sentence for every fault of its settings (`redis-checks.ts`),
 * or with one that says why it cannot be used. Afterwards the store is unavailable whenever the Redis is, and
 * recovers by itself.
 */
export async function openRedisStore(
  options: RedisStoreOptions,
): Promise<Result<MessageStore, readonly string[]>> {
  const commands = await connectCommands(options);
  if (!commands.ok) return fail(commands.fault);
  const listeners: Parameters<MessageStore['onChange']>[0][] = [];
  const tell: Parameters<MessageStore['onChange']>[0] = (mailbox, what) => {
    for (const listener of listeners) listener(mailbox, what);
  };
  const origin = Buffer.from(options.random.bytes(ORIGIN_BYTES)).toString('base64url');
  const subscriber = await connectSubscriber(options, CHANNEL, (text) => {
    // What this relay wrote itself it has told already, and more exactly.
    if (text.startsWith(origin)) return;
    for (let at = TAG_LENGTH; at < text.length; at += TAG_LENGTH) {
      const mailbox = parseMailboxTag(text.slice(at, at + TAG_LENGTH));
      if (mailbox !== undefined) tell(mailbox);
    }
  });
  if (!subscriber.ok) {
    await commands.value.close();
    return fail(subscriber.fault);
  }
  const close = async (): Promise<void> => {
    await Promise.all([commands.value.close(), subscriber.value.close()]);
  };
  return ok({
    ...createStore(commands.value, options.pepper, origin, tell),
    onChange: (listener) => void listeners.push(listener),
    close,
  });
}

function createStore(
  connection: RedisConnection,
  pepper: Uint8Array,
  origin: string,
  tell: Parameters<MessageStore['onChange']>[0],
): Omit<MessageStore, 'onChange' | 'close'> {
  const damage = createEvent<undefined>();
  const outboxFull = createEvent<number>();

  const run = async (commands: readonly RedisCommand[]): Promise<readonly unknown[]> => {
    const replies = commands.length === 0 ? [] : await connection.run(commands);
    for (const reply of replies) if (reply instanceof Error) throw unavailable(reply);
    return replies;
  };
  const discard = async (damaged: readonly Damaged[]): Promise<void> => {
    for (const reply of await run(damaged.map(({ reference, value }) => discardCommand(reference, value)))) {
      if (Number(reply) === 1) damage.tell(undefined);
    }
  };
  const rounds = createRounds(run);
  const writing = { connection, origin, onFull: outboxFull.tell };
  const insert = groupCommit(async (items: readonly (Insertion & Timed)[]) => {
    rounds.inserting(items);
    const outcomes = await insertGroup(writing, items);
    for (const [place, { message }] of items.entries()) {
      const outcome = outcomes[place];
      if (outcome === 'stored') tell(message.mailbox, message);
      else if (outcome instanceof Error) tell(message.mailbox);
    }
    return outcomes;
  });
  const bury = groupCommit(async (items: readonly (Burial & Timed)[]) => {
    rounds.burying(items);
    const outcomes = await buryGroup(writing, items);
    for (const [place, { ack }] of items.entries()) {
      const outcome = outcomes[place];
      if (outcome === true) tell(ack.mailbox, ack);
      else if (outcome instanceof Error) tell(ack.mailbox);
    }
    return outcomes;
  });
  const settle = groupCommit((items: readonly Settlement[]) => settleGroup(connection, items));

  return {
    durable: true,
    insert: (insertions, nowMs) => insert(insertions.map((insertion) => ({ ...insertion, nowMs }))),
    bury: (burials, nowMs) => bury(burials.map((burial) => ({ ...burial, nowMs }))),
    settle: async (settlements) => void (await settle(settlements)),
    pending: async (mailbox, limit, nowMs) => {
      const args = [partitionOf(mailbox), mailbox, Math.min(limit, PENDING_MAX), nowMs];
      const [reply] = await run([evalsha(PENDING, `x:{${partitionOf(mailbox)}}`, args)]);
      const { messages, damaged } = readPending(mailbox, reply);
      await discard(damaged);
      return messages;
    },
    load: (references) => load(references, run, discard, pepper),
    missing: (references) => findMissing(references, run, discard),
    list: (partition, cursor, limit) => readPage(partition, cursor, Math.min(limit, LIST_MAX), run),
    digest: (partitions, fromMs) => readDigests(partitions, fromMs, run),
    verify: (partition, cursor, limit) =>
      verifyPage(partition, cursor, Math.min(limit, LIST_MAX), run, discard),
    owed: rounds.owed,
    debts: rounds.debts,
    expire: rounds.expire,
    usage: (mailbox) => readUsage(mailbox, run),
    fullness: async () => fullnessOf(await run([['INFO', 'memory']])),
    ...epochIn(run),
    ping: async () => void (await run([['PING']])),
    onDamage: damage.listen,
    onOutboxFull: outboxFull.listen,
  };
}

interface Event<Detail> {
  readonly tell: (detail: Detail) => void;
  readonly listen: (listener: (detail: Detail) => void) => void;
}

function createEvent<Detail>(): Event<Detail> {
  const listeners: ((detail: Detail) => void)[] = [];
  return {
    tell: (detail) => {
      for (const listener of listeners) listener(detail);
    },
    listen: (listener) => void listeners.push(listener),
  };
}

function epochIn(run: Run): Pick<MessageStore, 'readEpoch' | 'replaceEpoch'> {
  return {
    readEpoch: async () => readEpoch(await run([['GET', 'epoch']])),
    replaceEpoch: (expected, next) => replaceEpoch(expected, next, run),
  };
}

/** The text that is there decides: between reading and replacing it nobody may have written another. */
async function replaceEpoch(expected: Epoch | undefined, next: Epoch, run: Run): Promise<boolean> {
  const [text] = await run([['GET', 'epoch']]);
  if (readEpoch([text])?.id !== expected?.id) return false;
  const before = Buffer.isBuffer(text) ? text : '';
  const [replaced] = await run([evalsha(REPLACE_EPOCH, 'epoch', [before, JSON.stringify(next)])]);
  return replaced === 1;
}

async function readUsage(mailbox: MailboxTag, run: Run): Promise<MailboxUsage> {
  const partition = partitionOf(mailbox);
  const [reply] = await run([evalsha(USAGE, `x:{${partition}}`, [partition, mailbox])]);
  const [messages = 0, bytes = 0, claimed = 0] = listOf(reply).map(Number);
  return { messages, bytes, isClaimed: claimed === 1 };
}

/** From INFO: `used_memory` over `maxmemory`; a Redis without a limit is never full. */
function fullnessOf([info]: readonly unknown[]): number {
  const bytesOf = (name: string): number =>
    Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(String(info))?.[1] ?? 0);
  const max = bytesOf('maxmemory');
  return max === 0 ? 0 : bytesOf('used_memory') / max;
}
