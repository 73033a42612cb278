/**
 * A real Redis Cluster for a test: three masters that share the slots, and a replica of the first, every one with the
 * settings of production.
 */
import { Redis } from 'ioredis';
import { eventually } from './eventually.ts';
import { freePort, type RedisServer, startRedis } from './redis-server.ts';

export interface RedisCluster {
  readonly masters: readonly RedisServer[];
  /** Of the first master. */
  readonly replica: RedisServer;
  /** Sends a command to one node, as an operator would. */
  tell(node: RedisServer, name: string, ...args: readonly (string | number)[]): Promise<unknown>;
  /** Empties every node that is a master now. */
  flush(): Promise<void>;
  stop(): Promise<void>;
}

/** Soon enough for a test, and longer than a busy machine is silent, milliseconds. */
const NODE_TIMEOUT_MS = 2_000;
const LAST_SLOT = 16_383;

export async function startRedisCluster(): Promise<RedisCluster> {
  const nodes: RedisServer[] = [];
  const busPorts = new Map<RedisServer, number>();
  for (let index = 0; index < 4; index += 1) {
    const busPort = await freePort('127.0.0.1');
    const node = await startRedis({
      'cluster-enabled': 'yes',
      'cluster-port': String(busPort),
      'cluster-node-timeout': String(NODE_TIMEOUT_MS),
      'cluster-require-full-coverage': 'no',
    });
    nodes.push(node);
    busPorts.set(node, busPort);
  }
  const clients = new Map(
    nodes.map((node) => {
      const client = new Redis({ host: node.host, port: node.port });
      // A node that a test kills is dialled until the end.
      client.on('error', () => undefined);
      return [node, client];
    }),
  );
  const tell: RedisCluster['tell'] = async (node, name, ...args) => clients.get(node)?.call(name, ...args);
  const [first, , , replica] = nodes;
  if (first === undefined || replica === undefined) throw new Error('no nodes');
  const masters = nodes.slice(0, 3);
  for (const [index, node] of masters.entries()) {
    const [from, next] = [index, index + 1].map((place) => Math.floor((place * (LAST_SLOT + 1)) / 3));
    await tell(node, 'CLUSTER', 'ADDSLOTSRANGE', from ?? 0, (next ?? 0) - 1);
    await tell(node, 'CLUSTER', 'SET-CONFIG-EPOCH', index + 1);
  }
  for (const node of nodes.slice(1)) {
    await tell(first, 'CLUSTER', 'MEET', node.host, node.port, busPorts.get(node) ?? 0);
  }
  const info = async (node: RedisServer, line: string): Promise<boolean> =>
    String(await tell(node, 'CLUSTER', 'INFO')).includes(line);
  const isMet = async (): Promise<true | undefined> => {
    const met = await Promise.all(
      nodes.map(
        async (node) => (await info(node, 'cluster_known_nodes:4')) && info(node, 'cluster_state:ok'),
      ),
    );
    return met.every(Boolean) ? true : undefined;
  };
  await eventually('the nodes know each other', isMet, 30_000);
  await tell(replica, 'CLUSTER', 'REPLICATE', String(await tell(first, 'CLUSTER', 'MYID')));
  await eventually(
    'the replica follows',
    async () =>
      String(await tell(replica, 'INFO', 'replication')).includes('master_link_status:up') ? true : undefined,
    30_000,
  );
  return {
    masters,
    replica,
    tell,
    flush: async () => {
      for (const node of masters) await tell(node, 'FLUSHALL');
    },
    stop: async () => {
      for (const client of clients.values()) client.disconnect();
      await Promise.all(nodes.map((node) => node.stop()));
    },
  };
}
