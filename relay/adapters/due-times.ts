/**
 * When each partition of a store next needs a look, as far as one relay knows: so that looking costs what there is to
 * find, and an idle relay asks next to nothing.
 *
 * A relay knows what it wrote itself. What another relay of the site wrote, and left behind, it finds by going round:
 * every look takes a few partitions along that nothing is known of. A partition that was never looked at may hold
 * anything.
 */
import { PARTITIONS, type Partition } from '../core/mailbox.ts';

export interface DueTimes {
  /** Something that counts from `atMs` may be in the partition from now on. */
  note(partition: Partition, atMs: number): void;
  /** Whether it may hold anything. */
  mayHold(partition: Partition): boolean;
  /** The partitions that may hold something from before `beforeMs`; beginning at another one every time. */
  before(beforeMs: number): readonly Partition[];
  /** The next `count` partitions of the round. */
  round(count: number): readonly Partition[];
  /** Names this moment, for `found`. */
  moment(): number;
  /**
   * A look that began at `moment` found `nextMs` to be the earliest in the partition, or nothing at all. What was
   * noted since then counts on, because the look may not have seen it.
   */
  found(partition: Partition, moment: number, nextMs: number | undefined): void;
}

interface Known {
  readonly atMs: number;
  readonly notedAt: number;
}

/** Of a store that was never looked at. */
export function createDueTimes(): DueTimes {
  const known = new Map<Partition, Known>(
    PARTITIONS.map((partition) => [partition, { atMs: Number.NEGATIVE_INFINITY, notedAt: 0 }]),
  );
  let notes = 0;
  let first = 0;
  let round = 0;
  const isDue = (partition: Partition, beforeMs: number): boolean =>
    (known.get(partition)?.atMs ?? Number.POSITIVE_INFINITY) < beforeMs;

  return {
    note: (partition, atMs) => {
      notes += 1;
      const earlier = known.get(partition)?.atMs ?? Number.POSITIVE_INFINITY;
      known.set(partition, { atMs: Math.min(earlier, atMs), notedAt: notes });
    },
    mayHold: (partition) => known.has(partition),
    before: (beforeMs) => {
      first = (first + 1) % PARTITIONS.length;
      const due: Partition[] = [];
      for (let step = 0; step < PARTITIONS.length; step += 1) {
        const partition = PARTITIONS[(first + step) % PARTITIONS.length];
        if (partition !== undefined && isDue(partition, beforeMs)) due.push(partition);
      }
      return due;
    },
    round: (count) => {
      const from = round;
      round = (round + count) % PARTITIONS.length;
      return PARTITIONS.slice(from, from + count);
    },
    moment: () => notes,
    found: (partition, moment, nextMs) => {
      const one = known.get(partition);
      if (one !== undefined && one.notedAt > moment) return;
      if (nextMs === undefined) known.delete(partition);
      else known.set(partition, { atMs: nextMs, notedAt: one?.notedAt ?? 0 });
    },
  };
}
