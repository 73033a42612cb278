/**
 * What the Redis store knows of a partition as a set: pages of its members, their digest, and whether each is whole.
 */
import { type Digest, emptyDigest, sliceOf, weightOf } from '../core/digest.ts';
import type { Partition } from '../core/mailbox.ts';
import type { Listed } from '../core/reference.ts';
import type { MessageStore } from '../ports.ts';
import { evalsha } from './redis-connection.ts';
import { type Damaged, findDamaged, type Run } from './redis-reads.ts';
import { listOf, readMembers } from './redis-records.ts';
import { DIGEST, RETALLY } from './redis-scripts.ts';

/** Things about to expire in one partition beyond which its digest is not reckoned. */
const SOON_MAX = 4096;

/** See `MessageStore.list`. */
export async function readPage(
  partition: Partition,
  cursor: string,
  limit: number,
  run: Run,
): ReturnType<MessageStore['list']> {
  if (!/^\d{0,20}$/.test(cursor)) return { references: [], cursor: '' };
  const from = cursor === '' ? '0' : cursor;
  const [reply] = await run([['ZSCAN', `x:{${partition}}`, from, 'COUNT', Math.max(1, limit)]]);
  const [next, entries] = Array.isArray(reply) ? reply : [];
  const end = String(next);
  return { references: readListed(listOf(entries)), cursor: end === '0' ? '' : end };
}

/** See `MessageStore.digest`. */
export async function readDigests(
  partitions: readonly Partition[],
  fromMs: number,
  run: Run,
): Promise<readonly (Digest | undefined)[]> {
  const commands = partitions.map((p) => evalsha(DIGEST, `x:{${p}}`, [p, fromMs, SOON_MAX + 1]));
  return (await run(commands)).map((reply) => {
    const [sums, soon] = listOf(reply);
    const leaving = readListed(listOf(soon));
    return leaving.length > SOON_MAX ? undefined : without(leaving, readSums(sums));
  });
}

/** See `MessageStore.verify`. */
export async function verifyPage(
  partition: Partition,
  cursor: string,
  limit: number,
  run: Run,
  discard: (damaged: readonly Damaged[]) => Promise<void>,
): ReturnType<MessageStore['verify']> {
  const page = await readPage(partition, cursor, limit, run);
  await discard(await findDamaged(page.references, run));
  if (page.cursor === '') await run([evalsha(RETALLY, `x:{${partition}}`, [partition])]);
  return { checked: page.references.length, cursor: page.cursor };
}

/** Members and their scores, one after the other. */
function readListed(entries: readonly unknown[]): readonly Listed[] {
  const listed: Listed[] = [];
  for (let at = 0; at + 1 < entries.length; at += 2) {
    const [reference] = readMembers([entries[at]]);
    if (reference !== undefined) listed.push({ ...reference, untilMs: Number(String(entries[at + 1])) });
  }
  return listed;
}

/** The sum of each slice, 64 bits each; what is not there is nothing. */
function readSums(reply: unknown): bigint[] {
  const digest = emptyDigest();
  if (!Buffer.isBuffer(reply)) return digest;
  return digest.map((_, slice) => (8 * slice + 8 <= reply.length ? reply.readBigInt64BE(8 * slice) : 0n));
}

function without(leaving: readonly Listed[], digest: bigint[]): Digest {
  for (const thing of leaving) {
    const slice = sliceOf(thing);
    digest[slice] = (digest[slice] ?? 0n) - weightOf(thing, thing.untilMs);
  }
  return digest;
}
