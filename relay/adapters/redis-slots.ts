/**
 * Which node of a Redis Cluster has which partition: every key carries its partition as hash tag, so a partition lives
 * in one of the 16,384 slots (CRC16, as in the cluster specification of Redis), and a node has ranges of slots.
 */
import { PARTITIONS, type Partition } from '../core/mailbox.ts';
import type { Argument, RedisCommand } from './redis-connection.ts';
import { listOf } from './redis-records.ts';

const SLOTS = 16_384;
const SLOT_OF: ReadonlyMap<Partition, number> = new Map(
  PARTITIONS.map((partition) => [partition, crc16(partition) % SLOTS]),
);

/** Where a node is; `name` is `host:port`. */
export interface NodeAddress {
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

/**
 * The node of each partition, from a reply to CLUSTER SLOTS. A node that does not know its own address is the one that
 * was asked. Partitions whose slots nobody has are left out.
 */
export function readTopology(reply: unknown, askedHost: string): ReadonlyMap<Partition, NodeAddress> {
  const ranges = listOf(reply).flatMap((range) => {
    const [from, to, master] = listOf(range);
    const [given, port] = listOf(master);
    const text = Buffer.isBuffer(given) ? given.toString('latin1') : '';
    const host = text === '' ? askedHost : text;
    if (typeof from !== 'number' || typeof to !== 'number' || typeof port !== 'number') return [];
    return [{ from, to, node: { name: `${host}:${port}`, host, port } }];
  });
  const nodes = new Map<Partition, NodeAddress>();
  for (const [partition, slot] of SLOT_OF) {
    const range = ranges.find(({ from, to }) => from <= slot && slot <= to);
    if (range !== undefined) nodes.set(partition, range.node);
  }
  return nodes;
}

/** The partition of a command's key; undefined for a command without one. */
export function partitionOfCommand([name, ...args]: RedisCommand): Partition | undefined {
  const key: Argument | undefined = name === 'EVALSHA' ? args[2] : args[0];
  const tag = typeof key === 'string' ? /\{([0-9a-f]{2})\}/.exec(key)?.[1] : undefined;
  return tag as Partition | undefined;
}

/** CRC-16/XMODEM. */
function crc16(text: string): number {
  let crc = 0;
  for (const byte of Buffer.from(text, 'latin1')) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) {
      crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021;
      crc &= 0xffff;
    }
  }
  return crc;
}
