/**
 * The message store of production: one Redis of the site, which fsyncs before it answers.
 *
 * This side makes records into commands and replies into messages, and verifies every record that it reads; what
 * must happen together happens in `redis-scripts.ts`. All writes are idempotent, so a write whose outcome is not
 * known is simply repeated by whoever needs it.
 */
import type { SiteName } from '../../fleet/manifest.ts';
import { fail, ok, type Result } from '../../system/result.ts';
import {
  type MailboxTag,
  PARTITIONS,
  type Partition,
  parseMailboxTag,
  partitionOf,
} from '../core/mailbox.ts';
import type { Reference } from '../core/reference.ts';
import type { Burial, Debt, Insertion, MailboxUsage, MessageStore, Settlement } from '../ports.ts';
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
import { listOf, outboxKey, readEpoch, readMembers, TAG_LENGTH } from './redis-records.ts';
import { DEBT, EXPIRE, PENDING, USAGE } from './redis-scripts.ts';
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
const OWED_MAX = 4_096;
/** How many partitions are asked in one step for what is owed, and the part of the limit that one may use up. */
const OWED_PARTITIONS = 32;
const OWED_SHARE = 8;
/** How many things one script discards: an ack among them may name 512 messages. */
const SWEEP_MAX = 64;

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
  const damageListeners: (() => void)[] = [];
  let firstPartition = 0;

  /** All partitions, beginning at another one every time, so that a limit starves none of them. */
  const rotation = (): readonly Partition[] => {
    firstPartition = (firstPartition + 1) % PARTITIONS.length;
    return [...PARTITIONS.slice(firstPartition), ...PARTITIONS.slice(0, firstPartition)];
  };
  const run = async (commands: readonly RedisCommand[]): Promise<readonly unknown[]> => {
    const replies = commands.length === 0 ? [] : await connection.run(commands);
    for (const reply of replies) if (reply instanceof Error) throw unavailable(reply);
    return replies;
  };
  const discard = async (damaged: readonly Damaged[]): Promise<void> => {
    for (const _ of damaged) for (const listener of damageListeners) listener();
    await run(damaged.map(({ reference, value }) => discardCommand(reference, value)));
  };
  const insert = groupCommit(async (items: readonly (Insertion & Timed)[]) => {
    const outcomes = await insertGroup(connection, origin, items);
    for (const [place, { message }] of items.entries()) {
      const outcome = outcomes[place];
      if (outcome === 'stored') tell(message.mailbox, message);
      else if (outcome instanceof Error) tell(message.mailbox);
    }
    return outcomes;
  });
  const bury = groupCommit(async (items: readonly (Burial & Timed)[]) => {
    const outcomes = await buryGroup(connection, origin, items);
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
    owed: (site, beforeMs, limit) => collectOwed(rotation(), site, beforeMs, Math.min(limit, OWED_MAX), run),
    debts: async (sites) => {
      const replies = await run(PARTITIONS.map((p) => evalsha(DEBT, `x:{${p}}`, [p, ...sites])));
      return new Map(sites.map((site, place) => [site, sumDebt(replies, place)]));
    },
    expire: async (nowMs, limit) => sweep(rotation(), nowMs, limit, run),
    usage: (mailbox) => readUsage(mailbox, run),
    fullness: async () => fullnessOf(await run([['INFO', 'memory']])),
    readEpoch: async () => readEpoch(await run([['GET', 'epoch']])),
    writeEpoch: async (epoch) => void (await run([['SET', 'epoch', JSON.stringify(epoch)]])),
    ping: async () => void (await run([['PING']])),
    onDamage: (listener) => void damageListeners.push(listener),
  };
}

async function readPage(
  partition: Partition,
  cursor: string,
  limit: number,
  run: Run,
): ReturnType<MessageStore['list']> {
  if (!/^\d{0,20}$/.test(cursor)) return { references: [], cursor: '' };
  const from = cursor === '' ? '0' : cursor;
  const [reply] = await run([['ZSCAN', `x:{${partition}}`, from, 'COUNT', Math.max(1, limit)]]);
  const [next, entries] = Array.isArray(reply) ? reply : [];
  const members = listOf(entries).filter((_, index) => index % 2 === 0);
  const end = String(next);
  return { references: readMembers(members), cursor: end === '0' ? '' : end };
}

async function readUsage(mailbox: MailboxTag, run: Run): Promise<MailboxUsage> {
  const partition = partitionOf(mailbox);
  const [reply] = await run([evalsha(USAGE, `x:{${partition}}`, [partition, mailbox])]);
  const [messages = 0, bytes = 0, claimed = 0] = listOf(reply).map(Number);
  return { messages, bytes, isClaimed: claimed === 1 };
}

async function collectOwed(
  partitions: readonly Partition[],
  site: SiteName,
  beforeMs: number,
  limit: number,
  run: Run,
): Promise<readonly Reference[]> {
  const share = Math.ceil(limit / OWED_SHARE);
  const range = ['-inf', `(${beforeMs}`, 'BYSCORE', 'LIMIT', 0, share] as const;
  const found: Reference[] = [];
  for (let at = 0; at < partitions.length && found.length < limit; at += OWED_PARTITIONS) {
    const some = partitions.slice(at, at + OWED_PARTITIONS);
    const replies = await run(some.map((p) => ['ZRANGE', outboxKey(p, site), ...range]));
    found.push(...readMembers(replies.flatMap(listOf)));
  }
  return found.slice(0, limit);
}

async function sweep(
  partitions: readonly Partition[],
  nowMs: number,
  limit: number,
  run: Run,
): Promise<number> {
  const counts = await run(partitions.map((p) => ['ZCOUNT', `x:{${p}}`, '-inf', nowMs]));
  let left = limit;
  let messages = 0;
  for (const [index, partition] of partitions.entries()) {
    for (let due = Math.min(Number(counts[index]), left); due > 0; ) {
      const step = Math.min(due, SWEEP_MAX);
      const [reply] = await run([evalsha(EXPIRE, `x:{${partition}}`, [partition, nowMs, step])]);
      const [discarded, total] = listOf(reply).map(Number);
      messages += discarded ?? 0;
      left -= total ?? 0;
      due = (total ?? 0) < step ? 0 : due - step;
    }
  }
  return messages;
}

/** From INFO: `used_memory` over `maxmemory`; a Redis without a limit is never full. */
function fullnessOf([info]: readonly unknown[]): number {
  const bytesOf = (name: string): number =>
    Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(String(info))?.[1] ?? 0);
  const max = bytesOf('maxmemory');
  return max === 0 ? 0 : bytesOf('used_memory') / max;
}

function sumDebt(replies: readonly unknown[], place: number): Debt {
  let count = 0;
  let oldestMs: number | undefined;
  for (const reply of replies) {
    const parts = listOf(reply);
    const here = Number(parts[2 * place] ?? 0);
    if (here === 0) continue;
    const sinceMs = Number(String(parts[2 * place + 1]));
    count += here;
    if (oldestMs === undefined || sinceMs < oldestMs) oldestMs = sinceMs;
  }
  return { count, oldestMs };
}
