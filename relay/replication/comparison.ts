/**
 * Finds what another site has and this one lacks, and takes it. What is exchanged grows with the differences: the
 * totals of all partitions in one frame, then the digests of the partitions that differ, then lists of the slices
 * that differ, then the things themselves.
 *
 * Each site asks for itself, so whatever either lacks is found. What is on its way while two sites compare looks like a
 * difference; so a second look, a moment later, decides which slices are listed.
 */
import { differingSlices, totalOf } from '../core/digest.ts';
import { PARTITIONS, type Partition } from '../core/mailbox.ts';
import { type PeerLink, PeerUnreachable } from '../ports.ts';
import { type PullingDeps, pullFrom } from './pulling.ts';

export interface ComparisonOptions {
  /** What expires within so many milliseconds is not compared. */
  readonly marginMs: number;
  /** Between the two looks, milliseconds; 0: the first look decides. */
  readonly confirmMs: number;
  /** Ends the wait between the two looks. */
  readonly stopped?: AbortSignal;
}

/** What one comparison cost, and what it found. */
export interface Compared {
  /** Slices that differed and were listed. */
  readonly slices: number;
  /** References that the other site listed. */
  readonly listed: number;
  /** Things that were lacking here and are stored now. */
  readonly taken: number;
  /** Partitions of which too much is about to expire to compare them now. */
  readonly skipped: number;
}

const CALL_TIMEOUT_MS = 5000;
const PARTITIONS_PER_CALL = 32;
/** Partitions listed at the same time. */
const LANES = 8;
const ALL_SLICES: bigint = 2n ** 64n - 1n;

/**
 * Rejects with `PeerUnreachable` or `StoreUnavailable` when it could not be done to the end; what was taken until
 * then stays.
 */
export async function takeWhatIsLacking(
  link: PeerLink,
  options: ComparisonOptions,
  deps: PullingDeps,
): Promise<Compared> {
  const { clock } = deps;
  const fromMs = deps.expiryWallMs() + options.marginMs;
  const isConfirming = options.confirmMs > 0;
  const suspects = await suspectPartitions(link, fromMs, deps);
  const first = await differences(link, suspects, fromMs, deps);
  if (isConfirming && first.length > 0) await clock.sleep(options.confirmMs, options.stopped);
  const again = isConfirming
    ? await differences(
        link,
        first.map(({ partition }) => partition),
        fromMs,
        deps,
      )
    : first;
  const before = new Map(first.map(({ partition, slices }) => [partition, slices]));
  // Before a site is whole everything has to be looked at, also where it cannot be reckoned.
  const skipped = isConfirming ? again.filter(({ isReckoned }) => !isReckoned).length : 0;
  const chosen = again
    .filter(({ isReckoned }) => isReckoned || !isConfirming)
    .map(({ partition, slices }) => ({ partition, slices: slices & (before.get(partition) ?? 0n) }))
    .filter(({ slices }) => slices !== 0n);
  let listed = 0;
  let taken = 0;
  const lane = async (): Promise<void> => {
    for (let task = chosen.shift(); task !== undefined; task = chosen.shift()) {
      try {
        const figures = await takePartition(link, task.partition, task.slices, fromMs, deps);
        listed += figures.listed;
        taken += figures.taken;
      } catch (error) {
        // The comparison has failed as a whole and will be repeated: the other lanes need not go on.
        chosen.length = 0;
        throw error;
      }
    }
  };
  const slices = chosen.reduce((sum, task) => sum + bitsIn(task.slices), 0);
  await Promise.all(Array.from({ length: LANES }, lane));
  return { slices, listed, taken, skipped };
}

async function suspectPartitions(
  link: PeerLink,
  fromMs: number,
  { store }: PullingDeps,
): Promise<readonly Partition[]> {
  const [theirs, ours] = await Promise.all([
    link.call({ type: 'totals', fromMs }, CALL_TIMEOUT_MS),
    store.digest(PARTITIONS, fromMs),
  ]);
  if (theirs.type !== 'totalled') throw new PeerUnreachable(`totals were answered by ${theirs.type}`);
  return PARTITIONS.filter((_, index) => {
    const [total, digest] = [theirs.totals[index], ours[index]];
    return total === undefined || digest === undefined || total !== totalOf(digest);
  });
}

interface Difference {
  readonly partition: Partition;
  /** Bit n stands for slice n; all of them where it cannot be reckoned. */
  readonly slices: bigint;
  readonly isReckoned: boolean;
}

/** The partitions that differ. */
async function differences(
  link: PeerLink,
  partitions: readonly Partition[],
  fromMs: number,
  { store }: PullingDeps,
): Promise<readonly Difference[]> {
  const found: Difference[] = [];
  for (let from = 0; from < partitions.length; from += PARTITIONS_PER_CALL) {
    const some = partitions.slice(from, from + PARTITIONS_PER_CALL);
    const [theirs, ours] = await Promise.all([
      link.call({ type: 'digests', fromMs, partitions: some }, CALL_TIMEOUT_MS),
      store.digest(some, fromMs),
    ]);
    if (theirs.type !== 'digested') throw new PeerUnreachable(`digests were answered by ${theirs.type}`);
    for (const [index, partition] of some.entries()) {
      const [one, other] = [theirs.digests[index], ours[index]];
      const isReckoned = one !== undefined && other !== undefined;
      const differing = isReckoned ? differingSlices(one, other) : [];
      const slices = isReckoned
        ? differing.reduce((mask, slice) => mask | (1n << BigInt(slice)), 0n)
        : ALL_SLICES;
      if (slices !== 0n) found.push({ partition, slices, isReckoned });
    }
  }
  return found;
}

async function takePartition(
  link: PeerLink,
  partition: Partition,
  slices: bigint,
  fromMs: number,
  deps: PullingDeps,
): Promise<{ readonly listed: number; readonly taken: number }> {
  let cursor = '';
  let listed = 0;
  let taken = 0;
  do {
    const page = await link.call({ type: 'list', partition, cursor, slices, fromMs }, CALL_TIMEOUT_MS);
    if (page.type !== 'page') throw new PeerUnreachable(`list was answered by ${page.type}`);
    listed += page.references.length;
    taken += await pullFrom(link, await deps.store.missing(page.references), deps);
    cursor = page.cursor;
  } while (cursor !== '');
  return { listed, taken };
}

function bitsIn(mask: bigint): number {
  let count = 0;
  for (let rest = mask; rest !== 0n; rest &= rest - 1n) count += 1;
  return count;
}
