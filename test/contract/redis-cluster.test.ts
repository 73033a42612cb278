/**
 * The Redis store keeps the same contract on a real Redis Cluster, and through the failover of one of its nodes.
 */
import { createHash } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { createMemoryStore } from '../../relay/adapters/memory-store.ts';
import { openRedisStore } from '../../relay/adapters/redis-store.ts';
import { PARTITIONS, partitionOf } from '../../relay/core/mailbox.ts';
import type { Message, MessageId } from '../../relay/core/message.ts';
import type { PeerReply, PeerRequest } from '../../relay/core/peer-frame.ts';
import { referenceTo } from '../../relay/core/reference.ts';
import { type MessageStore, StoreUnavailable } from '../../relay/ports.ts';
import { createAcceptor } from '../../relay/replication/acceptor.ts';
import { takeWhatIsLacking } from '../../relay/replication/comparison.ts';
import { createPeerService } from '../../relay/replication/peer-service.ts';
import { systemClock } from '../../system/clock.ts';
import { eventually } from '../support/eventually.ts';
import { createTestMailbox, TEST_PEPPER } from '../support/mailbox.ts';
import { testManifest } from '../support/manifests.ts';
import { createRecordedEvents } from '../support/recorded-events.ts';
import { type RedisCluster, startRedisCluster } from '../support/redis-cluster.ts';
import { type RedisServer, redisMissing, startRedis } from '../support/redis-server.ts';
import { redisStoreOptions, untilAvailable } from '../support/redis-store.ts';
import { describeMessageStore, nextWake } from './message-store.ts';

const MINUTE_MS = 60_000;

/** Every mailbox has a message of its own in each round. */
function idOf(round: string, tag: string): MessageId {
  return createHash('sha256').update(`${round} ${tag}`).digest().toString('base64url', 0, 16) as MessageId;
}

const reason = redisMissing === undefined ? '' : ` (skipped: ${redisMissing})`;

describe.skipIf(redisMissing !== undefined)(`the Redis store on a cluster${reason}`, () => {
  let cluster: RedisCluster;
  const stores: MessageStore[] = [];

  beforeAll(async () => {
    cluster = await startRedisCluster();
  }, MINUTE_MS);
  afterEach(async () => {
    await Promise.all(stores.splice(0).map((store) => store.close()));
  });
  afterAll(async () => {
    await cluster.stop();
  });

  const openAnother = async (): Promise<MessageStore> => {
    const [first] = cluster.masters;
    if (first === undefined) throw new Error('no node');
    const opened = await openRedisStore({ ...redisStoreOptions(first), nodes: cluster.masters });
    if (!opened.ok) throw new Error(opened.fault.join('; '));
    stores.push(opened.value);
    return opened.value;
  };
  const openEmpty = async (): Promise<MessageStore> => {
    await cluster.flush();
    return openAnother();
  };

  describeMessageStore(openEmpty);

  test('keeps what belongs to a partition at one node, and uses all of them', async () => {
    const store = await openEmpty();
    const mailboxes = Array.from({ length: 60 }, createTestMailbox);
    const insertions = mailboxes.map((each) => ({ message: each.message('one'), owedTo: ['gcp'] }));
    expect(new Set(await store.insert(insertions, 10_000))).toEqual(new Set(['stored']));
    for (const node of cluster.masters) {
      expect(Number(await cluster.tell(node, 'DBSIZE'))).toBeGreaterThan(20);
    }
    expect((await store.debts(['gcp'])).get('gcp')?.count).toBe(60);
  });

  test('has no epoch any more when one of its nodes has lost its memory', async () => {
    const store = await openEmpty();
    const epoch = { id: 'A', refilledFrom: [], seenMs: 7 };
    expect(await store.replaceEpoch(undefined, epoch)).toBe(true);
    expect(await store.readEpoch()).toEqual(epoch);
    const [, second] = cluster.masters;
    if (second !== undefined) await cluster.tell(second, 'FLUSHALL');
    expect(await store.readEpoch()).toBeUndefined();
    expect(await store.replaceEpoch(undefined, { ...epoch, id: 'B' })).toBe(true);
    expect(await store.readEpoch()).toMatchObject({ id: 'B' });
  });

  test('wakes the listeners of every relay of the site once', async () => {
    const [one, two] = [await openEmpty(), await openAnother()];
    const mailbox = createTestMailbox();
    const woken: string[] = [];
    const next = nextWake(two, woken);
    await one.insert([{ message: mailbox.message('one'), owedTo: [] }], 10_000);
    await next();
    await one.insert([{ message: mailbox.message('two'), owedTo: [] }], 10_000);
    await next();
    expect(woken).toEqual([mailbox.tag, mailbox.tag]);
  });

  test('checks every node, and says which one is not fit', async () => {
    const [first, second] = cluster.masters;
    if (first === undefined || second === undefined) throw new Error('no nodes');
    await cluster.tell(second, 'CONFIG', 'SET', 'appendfsync', 'everysec');
    const opened = await openRedisStore({ ...redisStoreOptions(first), nodes: cluster.masters });
    await cluster.tell(second, 'CONFIG', 'SET', 'appendfsync', 'always');
    expect(opened).toEqual({
      ok: false,
      fault: [expect.stringMatching(new RegExp(`${second.host}:${second.port}: appendfsync is everysec`))],
    });
  });

  test('is not opened as a single Redis, nor a single Redis as a cluster', async () => {
    const [first] = cluster.masters;
    if (first === undefined) throw new Error('no node');
    expect(await openRedisStore(redisStoreOptions(first))).toEqual({
      ok: false,
      fault: [expect.stringContaining('is a node of a Redis Cluster')],
    });
    const single = await startRedis();
    onTestFinished(() => single.stop());
    const opened = await openRedisStore({ ...redisStoreOptions(single), nodes: [single, single] });
    expect(opened).toEqual({ ok: false, fault: [expect.stringContaining('is no node of a Redis Cluster')] });
  });

  test('fails for the partitions of a node that is gone, and for no other', {
    timeout: MINUTE_MS,
  }, async () => {
    const store = await openEmpty();
    const nowMs = systemClock.wallMs();
    const events = createRecordedEvents();
    const [aws, gcp] = testManifest(['aws', 'gcp']).sites;
    if (aws === undefined || gcp === undefined) throw new Error('no sites');
    // The other site takes everything, so that the own store decides what is accepted.
    const link = {
      site: gcp.name,
      provider: gcp.provider,
      isUp: () => true,
      call: async (request: PeerRequest): Promise<PeerReply> =>
        request.type === 'put'
          ? { type: 'outcomes', outcomes: request.records.map(() => 'stored') }
          : { type: 'done' },
    };
    const notices = { tell: () => undefined, flush: async () => undefined };
    const acceptor = createAcceptor(
      { own: aws, sites: [aws, gcp], copiesNeeded: 2, deadlineMs: 5000 },
      { store, links: [link], notices, clock: systemClock, events },
    );
    const serve = createPeerService({
      own: aws.name,
      sites: [aws, gcp],
      pepper: TEST_PEPPER,
      store,
      clock: systemClock,
      events,
      arrivedNow: () => 'expired',
      replaceOlder: async () => undefined,
    });
    const mailboxes = Array.from({ length: 60 }, createTestMailbox);
    const made = (round: string): readonly Message[] =>
      mailboxes.map((each) =>
        each.message(round, { acceptedMs: nowMs, expiresMs: nowMs + 3_600_000, id: idOf(round, each.tag) }),
      );
    const [, second] = cluster.masters;
    await second?.kill();
    // All of them in one turn, so that they travel together.
    const answers = await Promise.all(made('sent').map((message) => acceptor.accept(message)));
    const refused = answers.filter((answer) => answer === 'unconfirmed').length;
    expect(refused).toBeGreaterThan(0);
    expect(refused).toBeLessThan(mailboxes.length);
    const records = made('put').map(({ record }) => ({ record, holders: [gcp.name] }));
    const reply = await serve({ type: 'put', records }, gcp.name);
    expect(reply).toEqual({
      type: 'outcomes',
      outcomes: answers.map((answer) => (answer === 'accepted' ? 'stored' : 'not_kept')),
    });
    expect(events.happened).toContain('peerRefused gcp store_unavailable');
    const acks = made('sent').map((message, at) =>
      acceptor.bury(mailboxes[at]?.ack([message.id], nowMs + 3_600_000) ?? expect.unreachable()),
    );
    const acked = (await Promise.allSettled(acks)).map(({ status }) => status === 'fulfilled');
    expect(acked).toEqual(answers.map((answer) => answer === 'accepted'));
    // What the others owe is drained meanwhile: a message, and the ack that came after it.
    const owed = await store.owed(gcp.name, nowMs + 3_600_000, 1000);
    expect(owed.filter(({ kind }) => kind === 'ack')).toHaveLength(mailboxes.length - refused);
    await second?.start();
    await untilAvailable(store);
    await eventually('everything is accepted', async () => {
      const again = await Promise.all(made('again').map((message) => acceptor.accept(message)));
      return again.every((answer) => answer === 'accepted') ? true : undefined;
    });
  });

  test('follows a slot that moves from one node to another while all of them run', async () => {
    const store = await openEmpty();
    const [first, second] = cluster.masters;
    const mailbox = createTestMailbox();
    const key = `x:{${partitionOf(mailbox.tag)}}`;
    if (first === undefined || second === undefined) throw new Error('no nodes');
    const slot = Number(await cluster.tell(first, 'CLUSTER', 'KEYSLOT', key));
    const ids = await Promise.all(
      cluster.masters.map(async (node) => String(await cluster.tell(node, 'CLUSTER', 'MYID'))),
    );
    const hasIt = (line: string): boolean =>
      line
        .split(' ')
        .slice(8)
        .some((range) => {
          const [from = '', to = from] = range.split('-');
          return Number(from) <= slot && slot <= Number(to);
        });
    /** Who has it as this node knows. */
    const ownerAt = async (node: RedisServer): Promise<string> => {
      const lines = String(await cluster.tell(node, 'CLUSTER', 'NODES')).split('\n');
      return lines.find(hasIt)?.slice(0, 40) ?? '';
    };
    const owner = await ownerAt(first);
    const other = ids.find((id) => id !== owner) ?? '';
    const assign = async (id: string): Promise<void> => {
      for (const node of cluster.masters) await cluster.tell(node, 'CLUSTER', 'SETSLOT', slot, 'NODE', id);
      // With a new epoch, as `redis-cli --cluster reshard` makes one: what was said of the slot before, and is still on its way,
      // is believed no more. A node that did would vote for no replica of its owner.
      await cluster.tell(cluster.masters[ids.indexOf(id)] ?? first, 'CLUSTER', 'BUMPEPOCH');
      await eventually(
        'all agree',
        async () => {
          const owners = await Promise.all([...cluster.masters, cluster.replica].map(ownerAt));
          return owners.every((one) => one === id) ? true : undefined;
        },
        20_000,
      );
    };
    onTestFinished(async () => {
      await cluster.flush();
      await assign(owner);
    });
    await assign(other);
    await eventually('the message', async () => {
      const message = mailbox.message('one');
      return await store.insert([{ message, owedTo: [] }], 10_000).catch(() => undefined);
    });
    expect(await store.pending(mailbox.tag, 10, 10_000)).toHaveLength(1);
  });

  // The last one: afterwards the cluster has lost its first node.
  test('loses nothing for good when a node fails over to a replica that is behind', {
    timeout: MINUTE_MS,
  }, async () => {
    const store = await openEmpty();
    let returns = 0;
    store.onReturn(() => {
      returns += 1;
    });
    const elsewhere = createMemoryStore();
    const nowMs = systemClock.wallMs();
    const mailboxes = Array.from({ length: 100 }, createTestMailbox);
    const confirmed: Message[] = [];
    const write = async (round: string): Promise<number> => {
      const messages = mailboxes.map((each) => each.message(round, { expiresMs: nowMs + 3_600_000 }));
      const insertions = messages.map((message) => ({ message, owedTo: [] }));
      await elsewhere.insert(insertions, nowMs);
      const written = await Promise.allSettled(insertions.map((each) => store.insert([each], nowMs)));
      let refused = 0;
      for (const [index, { status }] of written.entries()) {
        const message = messages[index];
        if (status === 'fulfilled' && message !== undefined) confirmed.push(message);
        else refused += 1;
      }
      return refused;
    };
    expect(await write('before')).toBe(0);
    const [first] = cluster.masters;
    cluster.replica.pause();
    // What the master sends from now on does not even reach the socket of the replica.
    if (first !== undefined) await cluster.tell(first, 'CLIENT', 'KILL', 'TYPE', 'replica');
    expect(await write('unreplicated')).toBe(0);
    await first?.kill();
    cluster.replica.resume();
    // A third of the partitions has no node; the others go on.
    const refused = await write('meanwhile');
    expect(refused).toBeGreaterThan(0);
    expect(refused).toBeLessThan(mailboxes.length);
    await expect(store.ping()).rejects.toBeInstanceOf(StoreUnavailable);
    const takenOver = Promise.withResolvers<void>();
    void untilAvailable(store).then(takenOver.resolve);
    await takenOver.promise;
    await eventually('writes succeed', async () => ((await write('after')) === 0 ? true : undefined), 20_000);
    expect(returns).toBeGreaterThan(0);

    const lost = await store.missing(confirmed.map(referenceTo));
    // The replica did not have these: the site confirmed them and lost them.
    expect(lost.length).toBeGreaterThan(0);
    const [aws, gcp] = testManifest(['aws', 'gcp']).sites;
    if (aws === undefined || gcp === undefined) throw new Error('no sites');
    const events = createRecordedEvents();
    const serve = createPeerService({
      own: gcp.name,
      sites: [aws, gcp],
      pepper: TEST_PEPPER,
      store: elsewhere,
      clock: systemClock,
      events,
      arrivedNow: () => 'expired',
      replaceOlder: async () => undefined,
    });
    const link = {
      site: gcp.name,
      provider: 'gcp',
      isUp: () => true,
      call: (request: Parameters<typeof serve>[0]) => serve(request, aws.name),
    };
    const deps = {
      store,
      clock: systemClock,
      expiryWallMs: () => systemClock.wallMs(),
      events,
      pepper: TEST_PEPPER,
    };
    await takeWhatIsLacking(link, { marginMs: 0, confirmMs: 0 }, deps);
    expect(await store.missing(confirmed.map(referenceTo))).toEqual([]);
    expect(await store.digest(PARTITIONS, nowMs)).toEqual(await elsewhere.digest(PARTITIONS, nowMs));
  });
});
