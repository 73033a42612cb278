/**
 * A site that has outgrown one Redis runs on a Redis Cluster: the same store, whose commands go to the node that has
 * their partition. Each node is connected to and checked as a single Redis is, so nothing is queued, replayed or
 * redirected: while a partition has no node its commands fail, and the others go on.
 *
 * Who has what is asked again after every failure, until every partition has a node that can be used.
 */

import { fail, ok, type Result } from '../../system/result.ts';
import type { Endpoint } from '../../system/settings.ts';
import { PARTITIONS, type Partition } from '../core/mailbox.ts';
import { StoreUnavailable } from '../ports.ts';
import {
  connectCommands,
  type RedisCommand,
  type RedisConnection,
  type RedisConnectionOptions,
} from './redis-connection.ts';
import { type NodeAddress, partitionOfCommand, readTopology } from './redis-slots.ts';

const REFRESH_MS = 250;
/** A node that is not there in time is tried again at the next refresh. */
const NODE_OPEN_MS = 2_000;
const MOVED = /^(?:MOVED|ASK|CLUSTERDOWN|TRYAGAIN|READONLY|MASTERDOWN)\b/;

/** Connects to every node that has a partition. Fails with every fault, or when a partition has no node. */
export async function connectCluster(
  seeds: readonly Endpoint[],
  options: RedisConnectionOptions,
): Promise<Result<RedisConnection, readonly string[]>> {
  const cluster = createCluster(seeds, options);
  const startedMs = options.clock.monotonicMs();
  for (;;) {
    const faults = await cluster.refresh();
    if (faults.length === 0) return ok(cluster.connection);
    const isOver = options.clock.monotonicMs() - startedMs > options.openTimeoutMs;
    if (isOver || faults.some((fault) => !isPassing(fault))) {
      await cluster.connection.close();
      return fail([...new Set(faults)]);
    }
    await options.clock.sleep(REFRESH_MS);
  }
}

/** Whether a fault may go by itself: a node that does not answer, or a cluster that is in a failover. */
function isPassing(fault: string): boolean {
  return fault.includes('cannot be used within') || fault.includes('has no node');
}

interface Cluster {
  readonly connection: RedisConnection;
  /** Asks who has what, and connects; gives what is still wrong. */
  readonly refresh: () => Promise<readonly string[]>;
}

/** The nodes that are connected to, and which of them has what. */
interface Nodes {
  readonly of: (partition: Partition) => string | undefined;
  readonly get: (name: string | undefined) => RedisConnection | undefined;
  /** One partition of each node that has any. */
  readonly homes: () => readonly Partition[];
  readonly anybody: () => string | undefined;
  /** Asks who has what, and connects; gives what is still wrong. */
  readonly refresh: () => Promise<readonly string[]>;
  readonly close: () => Promise<void>;
}

function createNodes(seeds: readonly Endpoint[], options: RedisConnectionOptions): Nodes {
  const nodes = new Map<string, RedisConnection>();
  let topology: ReadonlyMap<Partition, NodeAddress> = new Map();
  let closed = false;

  const open = async (name: string, { host, port }: Endpoint): Promise<readonly string[]> => {
    if (nodes.has(name)) return [];
    const openTimeoutMs = Math.min(NODE_OPEN_MS, options.openTimeoutMs);
    const opened = await connectCommands({ ...options, host, port, openTimeoutMs, isCluster: true });
    if (!opened.ok) return opened.fault;
    if (closed || nodes.has(name)) await opened.value.close();
    else nodes.set(name, opened.value);
    return [];
  };
  /** The topology as the first node tells it that can be asked. */
  const ask = async (): Promise<ReadonlyMap<Partition, NodeAddress>> => {
    for (const [name, node] of nodes) {
      const [reply] = await node.run([['CLUSTER', 'SLOTS']]).catch(() => []);
      if (Array.isArray(reply)) return readTopology(reply, name.slice(0, name.lastIndexOf(':')));
    }
    return new Map();
  };
  /** The same, with the seeds asked when no node can be. */
  const find = async (faults: string[]): Promise<ReadonlyMap<Partition, NodeAddress>> => {
    let found = await ask();
    for (const seed of seeds) {
      if (found.size > 0) break;
      faults.push(...(await open(`${seed.host}:${seed.port}`, seed)));
      found = await ask();
    }
    return found;
  };

  return {
    of: (partition) => topology.get(partition)?.name,
    get: (name) => (name === undefined ? undefined : nodes.get(name)),
    homes: () => [...new Map([...topology].map(([partition, { name }]) => [name, partition])).values()],
    anybody: () => nodes.keys().next().value,
    refresh: async () => {
      const faults: string[] = [];
      const found = await find(faults);
      if (found.size > 0) {
        // A replica that takes over may lack what was confirmed last.
        if ([...topology].some(([partition, { name }]) => found.get(partition)?.name !== name)) {
          options.onReturn?.();
        }
        topology = found;
        faults.length = 0;
      }
      const wanted = new Map([...topology.values()].map((address) => [address.name, address]));
      const opened = await Promise.all([...wanted].map(([name, address]) => open(name, address)));
      faults.push(...opened.flat());
      // A node that has nothing any more is let go, unless nobody else can be asked.
      for (const [name, node] of nodes) {
        if (wanted.size === 0 || wanted.has(name)) continue;
        nodes.delete(name);
        void node.close();
      }
      const homeless = PARTITIONS.filter((partition) => !topology.has(partition)).length;
      if (faults.length > 0 || homeless === 0) return faults;
      return [`redis cluster: ${homeless} of 256 partitions has no node; see \`redis-cli --cluster check\``];
    },
    close: async () => {
      closed = true;
      await Promise.all([...nodes.values()].map((node) => node.close()));
    },
  };
}

/** Calls `work` a moment after it was asked for, once for all who ask meanwhile, and again while it gives faults. */
function soon(
  work: () => Promise<readonly string[]>,
  { clock, log }: RedisConnectionOptions,
): { readonly ask: () => void; readonly stop: () => void } {
  let isAsked = false;
  let isStopped = false;
  const run = async (): Promise<void> => {
    if (isStopped) return;
    const faults = await work();
    isAsked = false;
    for (const fault of faults) log.debug('redis_cluster', { fault });
    if (faults.length > 0) ask();
  };
  const ask = (): void => {
    if (isAsked || isStopped) return;
    isAsked = true;
    clock.after(REFRESH_MS, () => void run());
  };
  return {
    ask,
    stop: () => {
      isStopped = true;
    },
  };
}

function createCluster(seeds: readonly Endpoint[], options: RedisConnectionOptions): Cluster {
  const nodes = createNodes(seeds, options);
  const refreshing = soon(nodes.refresh, options);

  const runAt = async (
    name: string | undefined,
    commands: readonly RedisCommand[],
  ): Promise<readonly unknown[]> => {
    try {
      const node = nodes.get(name);
      if (node === undefined) throw new StoreUnavailable('a partition has no node now');
      const replies = await node.run(commands);
      if (replies.some((reply) => reply instanceof Error && MOVED.test(reply.message))) refreshing.ask();
      return replies;
    } catch (error) {
      refreshing.ask();
      return commands.map(() => (error instanceof Error ? error : new StoreUnavailable(String(error))));
    }
  };

  const connection: RedisConnection = {
    spansPartitions: false,
    homes: nodes.homes,
    run: async (commands) => {
      const replies: unknown[] = [];
      const places = commands.map((command, place) => ({ command, place }));
      const groups = Map.groupBy(places, ({ command }) => {
        const partition = partitionOfCommand(command);
        return partition === undefined ? nodes.anybody() : nodes.of(partition);
      });
      await Promise.all(
        [...groups].map(async ([name, group]) => {
          const answers = await runAt(
            name,
            group.map(({ command }) => command),
          );
          for (const [index, { place }] of group.entries()) replies[place] = answers[index];
        }),
      );
      return replies;
    },
    everywhere: (command) =>
      Promise.all(nodes.homes().map(async (partition) => (await runAt(nodes.of(partition), [command]))[0])),
    close: async () => {
      refreshing.stop();
      await nodes.close();
    },
  };
  return { connection, refresh: nodes.refresh };
}
