/**
 * The message store of production: one Redis of the site, which fsyncs before it answers.
 *
 * This side makes records into commands and replies into messages, and verifies every record that it reads; what
 * must happen together happens in `redis-scripts.ts`. All writes are idempotent, so a write whose outcome is not
 * known is simply repeated by whoever needs it.
 */
import type { Clock } from '../../system/clock.ts';
import { fail, ok, type Result } from '../../system/result.ts';
import type { Endpoint } from '../../system/settings.ts';
import { type MailboxTag, partitionOf } from '../core/mailbox.ts';
import type { Message } from '../core/message.ts';
import type { InsertOutcome, Reference } from '../core/reference.ts';
import type {
  Burial,
  Epoch,
  Insertion,
  MailboxUsage,
  MessageStore,
  Settlement,
  StoreUnavailable,
} from '../ports.ts';
import { groupCommit } from './group-commit.ts';
import { CHANNEL, createForeignChanges, passCommand, readChanges, readPassed } from './redis-changes.ts';
import { connectCluster } from './redis-cluster.ts';
import {
  connectCommands,
  connectSubscriber,
  evalsha,
  type RedisCommand,
  type RedisConnection,
  type RedisConnectionOptions,
  type Subscriber,
} from './redis-connection.ts';
import { insertBeside } from './redis-inserts.ts';
import { createOutboxKeeper, type OutboxKeeper } from './redis-outbox.ts';
import { createPages } from './redis-pages.ts';
import {
  type Damaged,
  discardCommand,
  findBurials,
  findIndexed,
  findMissing,
  load,
  type Run,
  readPending,
} from './redis-reads.ts';
import { listOf, readEpoch } from './redis-records.ts';
import { createRounds, type Rounds } from './redis-rounds.ts';
import { PENDING, PROBE, REPLACE_EPOCH, USAGE } from './redis-scripts.ts';
import { readDigests, readPage, verifyPage } from './redis-sets.ts';
import { buryGroup, type Timed, unavailable, type Writing } from './redis-writes.ts';

export interface RedisStoreOptions
  extends Omit<RedisConnectionOptions, 'host' | 'port' | 'isCluster' | 'onReturn'> {
  /** The Redis; or several nodes of a Redis Cluster, from which the others are learnt. */
  readonly nodes: readonly Endpoint[];
  /** The fleet's pepper, under which acks name their mailbox. */
  readonly pepper: Uint8Array;
}

/** Names this relay to the others of its site; as text it is as long as a tag. */
const ORIGIN_BYTES = 18;
/** A group costs about 300 us of CPU before its first item, and for acks nobody waits but who retracts a message. */
const BURY_PACE = { ms: 60, fromItems: 2 } as const;
/** To look for a message by its name takes 5 us of relay and Redis, an eighth of what it takes to store one. */
const LOOK_WEIGHT = 1 / 8;
/** After so long what is owed is moved from its page to the outboxes, milliseconds, also when nobody asks. */
const PAGE_KEPT_MS = 5_000;
/** How long after a gap in what other relays say their changes are looked for by reading mailboxes, milliseconds. */
const MISSED_FOR_MS = 30_000;
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
  const { nodes } = options;
  const [single] = nodes;
  if (single === undefined) return fail(['no Redis is given']);
  const isCluster = nodes.length > 1;
  const returned = createEvent<undefined>();
  const watched = { ...options, onReturn: () => returned.tell(undefined) };
  const commands = isCluster
    ? await connectCluster(nodes, { ...watched, ...single })
    : await connectCommands({ ...watched, ...single });
  if (!commands.ok) return fail(commands.fault);
  const listeners: Parameters<MessageStore['onChange']>[] = [];
  const tell: Parameters<MessageStore['onChange']>[0] = (mailbox, what) => {
    for (const [listener] of listeners) listener(mailbox, what);
  };
  const origin = Buffer.from(options.random.bytes(ORIGIN_BYTES)).toString('base64url');
  const store = createStore(commands.value, options, origin, tell);
  const passed = createEvent<Message>();
  let knowingFromMs = Number.NEGATIVE_INFINITY;
  const missed = (): void => {
    knowingFromMs = options.clock.monotonicMs() + MISSED_FOR_MS;
  };
  const changed = createForeignChanges({
    load: store.load,
    isListening: (mailbox) => listeners.some(([, isListening]) => isListening(mailbox)),
    hasMissedSome: () => options.clock.monotonicMs() < knowingFromMs,
    tell,
  });
  const hear = (text: string): void => {
    // What this relay wrote itself it has told already.
    if (text.startsWith(origin)) return;
    const message = readPassed(text);
    if (message === undefined) changed(readChanges(text));
    else passed.tell(message);
  };
  const subscribers = await subscribe(nodes, options, hear, missed);
  if (!subscribers.ok) {
    await commands.value.close();
    return fail(subscribers.fault);
  }
  const close = async (): Promise<void> => {
    await Promise.all([commands.value.close(), ...subscribers.value.map((each) => each.close())]);
  };
  return ok({
    ...store,
    pass: async (message) => {
      const [reply] = await commands.value.run([passCommand(origin, message)]);
      if (reply instanceof Error) throw unavailable(reply);
    },
    onPassed: passed.listen,
    onReturn: returned.listen,
    onChange: (...listening) => void listeners.push(listening),
    close,
  });
}

/**
 * Listens at every node that is given, because any of them may go; what is said at one is said at all, so only the
 * first one that is there is believed. Fails with every fault when none can be used.
 */
async function subscribe(
  nodes: readonly Endpoint[],
  options: RedisStoreOptions,
  hear: (text: string) => void,
  missed: () => void,
): Promise<Result<readonly Subscriber[], readonly string[]>> {
  const subscribers: (Subscriber | undefined)[] = [];
  const opened = await Promise.all(
    nodes.map(async (node, place) => {
      const hearFirst = (text: string): void => {
        const first = subscribers.findIndex((each) => each?.isUp() === true);
        if (first === place) hear(text);
      };
      const result = await connectSubscriber({ ...options, ...node }, CHANNEL, hearFirst, missed);
      if (result.ok) subscribers[place] = result.value;
      return result;
    }),
  );
  const usable = subscribers.filter((each) => each !== undefined);
  if (usable.length > 0) return ok(usable);
  return fail(opened.flatMap((result) => (result.ok ? [] : result.fault)));
}

function createStore(
  connection: RedisConnection,
  { pepper, clock }: Pick<RedisStoreOptions, 'pepper' | 'clock'>,
  origin: string,
  tell: Parameters<MessageStore['onChange']>[0],
): Omit<MessageStore, 'onChange' | 'pass' | 'onPassed' | 'onReturn' | 'close'> {
  const damage = createEvent<undefined>();
  const outboxFull = createEvent<number>();

  const runEach = async (commands: readonly RedisCommand[]): Promise<readonly unknown[]> =>
    commands.length === 0 ? [] : connection.run(commands);
  const run = async (commands: readonly RedisCommand[]): Promise<readonly unknown[]> => {
    const replies = await runEach(commands);
    for (const reply of replies) if (reply instanceof Error) throw unavailable(reply);
    return replies;
  };
  const discard = async (damaged: readonly Damaged[]): Promise<void> => {
    for (const reply of await run(damaged.map(({ reference, value }) => discardCommand(reference, value)))) {
      if (Number(reply) === 1) damage.tell(undefined);
    }
  };
  const read: MessageStore['load'] = (references) => load(references, run, discard, pepper);
  const rounds = createRounds(runEach);
  const pages = createPages(origin);
  const outbox = createOutboxKeeper({
    connection,
    run,
    runEach,
    pages,
    onFull: (count) => outboxFull.tell(count),
  });
  const writing = { connection, origin, pages, onUnknown: outbox.unknown };
  const { insert, bury } = createWriters(writing, { read, rounds, outbox, clock, tell });
  const settle = groupCommit(
    async (items: readonly Settlement[]) => {
      await outbox.settle(items);
      return items;
    },
    { weightOf: ({ sites, references }) => sites.length * references.length },
  );

  return {
    durable: true,
    insert: (insertions, nowMs) =>
      insert(insertions.map(({ message, owedTo }) => ({ message, owedTo, nowMs }))),
    bury: (burials, nowMs) => bury(burials.map(({ ack, owedTo }) => ({ ack, owedTo, nowMs }))),
    settle: async (settlements) => void (await settle(settlements)),
    pending: async (mailbox, limit, nowMs) => {
      const args = [partitionOf(mailbox), mailbox, Math.min(limit, PENDING_MAX), nowMs];
      const [reply] = await run([evalsha(PENDING, `x:{${partitionOf(mailbox)}}`, args)]);
      const { messages, damaged } = readPending(mailbox, reply);
      await discard(damaged);
      return messages;
    },
    load: read,
    missing: (references) => findMissing(references, run, discard),
    buriedBy: inTurn(connection, (messages) => findBurials(messages, run)),
    indexed: inTurn(connection, (messages) => findIndexed(messages, run)),
    list: (partition, cursor, limit) => readPage(partition, cursor, Math.min(limit, LIST_MAX), run),
    digest: (partitions, fromMs) => readDigests(partitions, fromMs, run),
    verify: (partition, cursor, limit) =>
      verifyPage(partition, cursor, Math.min(limit, LIST_MAX), run, discard),
    owed: outbox.owed,
    debts: outbox.debts,
    expire: rounds.expire,
    usage: (mailbox) => readUsage(mailbox, run),
    ...stateOf(connection, run),
    ...epochIn(connection, run),
    onDamage: damage.listen,
    onOutboxFull: outboxFull.listen,
  };
}

/** Some look-ups after the others, so that what is written passes in between. */
function inTurn<Answer>(
  { spansPartitions }: RedisConnection,
  look: (messages: readonly Reference[]) => Promise<readonly Answer[]>,
): (messages: readonly Reference[]) => Promise<readonly Answer[]> {
  // At a cluster a node that is away fails those who ask for something of it, and not whoever asks beside them.
  return spansPartitions ? groupCommit(look, { weightOf: () => LOOK_WEIGHT }) : look;
}

interface WritersDeps {
  readonly read: MessageStore['load'];
  readonly rounds: Rounds;
  readonly outbox: OutboxKeeper;
  readonly clock: Clock;
  readonly tell: Parameters<MessageStore['onChange']>[0];
}

interface Writers {
  readonly insert: (
    items: readonly (Insertion & Timed)[],
  ) => Promise<readonly (InsertOutcome | StoreUnavailable)[]>;
  readonly bury: (items: readonly (Burial & Timed)[]) => Promise<readonly (boolean | StoreUnavailable)[]>;
}

/** What is written in groups, each told of afterwards. */
function createWriters(writing: Writing, { read, rounds, outbox, clock, tell }: WritersDeps): Writers {
  const wrote = (items: readonly Timed[]): void => {
    const nowMs = items[0]?.nowMs ?? 0;
    // Where no site is in reach nobody asks what is owed. What fails now is moved after the next write.
    void outbox.move(nowMs - PAGE_KEPT_MS).catch(() => undefined);
  };
  return {
    insert: groupCommit(async (items: readonly (Insertion & Timed)[]) => {
      rounds.inserting(items);
      const outcomes = await insertBeside(writing, items, read);
      items.forEach(({ message }, place) => {
        const outcome = outcomes[place];
        if (outcome === 'stored') tell(message.mailbox, message);
        else if (outcome instanceof Error) tell(message.mailbox);
      });
      wrote(items);
      return outcomes;
    }),
    bury: groupCommit(
      async (items: readonly (Burial & Timed)[]) => {
        rounds.burying(items);
        const outcomes = await buryGroup(writing, items);
        items.forEach(({ ack }, place) => {
          const outcome = outcomes[place];
          if (outcome === true) tell(ack.mailbox, ack);
          else if (outcome instanceof Error) tell(ack.mailbox);
        });
        wrote(items);
        return outcomes;
      },
      { pace: { ...BURY_PACE, clock }, weightOf: weightOfBurial },
    ),
  };
}

/** Each message that an ack names takes Redis 8 us, a fifth of a message; nobody waits for acks, so more is reckoned. */
function weightOfBurial({ ack }: Burial): number {
  return Math.max(1, ack.ids.length / 2);
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

function stateOf(connection: RedisConnection, run: Run): Pick<MessageStore, 'fullness' | 'ping'> {
  return {
    fullness: async () => fullnessOf(await connection.everywhere(['INFO', 'memory'])),
    ping: async () => void (await run(connection.homes().map((p) => evalsha(PROBE, `e:{${p}}:probe`, [])))),
  };
}

/** Each node has the epoch, so that one which has lost its memory is noticed; they count only if all say the same. */
function epochIn(connection: RedisConnection, run: Run): Pick<MessageStore, 'readEpoch' | 'replaceEpoch'> {
  const read = async (): Promise<{ keys: readonly string[]; texts: readonly unknown[] }> => {
    const keys = connection.homes().map((partition) => `e:{${partition}}`);
    return { keys, texts: await run(keys.map((key) => ['GET', key])) };
  };
  return {
    readEpoch: async () => epochOf((await read()).texts),
    replaceEpoch: async (expected, next) => {
      const { keys, texts } = await read();
      if (epochOf(texts)?.id !== expected?.id) return false;
      // The text that is there decides: between reading and replacing it nobody may have written another.
      const replies = await run(
        keys.map((key, place) => {
          const text = texts[place];
          return evalsha(REPLACE_EPOCH, key, [Buffer.isBuffer(text) ? text : '', JSON.stringify(next)]);
        }),
      );
      return replies.every((reply) => reply === 1);
    },
  };
}

function epochOf(texts: readonly unknown[]): Epoch | undefined {
  const [first, ...others] = texts.map((text) => readEpoch(text));
  return others.every((other) => other?.id === first?.id) ? first : undefined;
}

async function readUsage(mailbox: MailboxTag, run: Run): Promise<MailboxUsage> {
  const partition = partitionOf(mailbox);
  const [reply] = await run([evalsha(USAGE, `x:{${partition}}`, [partition, mailbox])]);
  const [messages = 0, bytes = 0, claimed = 0] = listOf(reply).map(Number);
  return { messages, bytes, isClaimed: claimed === 1 };
}

/** From INFO: `used_memory` over `maxmemory` of the fullest node; a Redis without a limit is never full. */
function fullnessOf(infos: readonly unknown[]): number {
  const shares = infos.map((info) => {
    if (info instanceof Error) throw unavailable(info);
    const bytesOf = (name: string): number =>
      Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(String(info))?.[1] ?? 0);
    const max = bytesOf('maxmemory');
    return max === 0 ? 0 : bytesOf('used_memory') / max;
  });
  return Math.max(0, ...shares);
}
