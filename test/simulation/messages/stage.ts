/**
 * What everything in the world of messages shares: its time, its trace, chance by the seed, and the figures.
 *
 * Every part draws from a generator of its own, named after it, so that one that draws once more does not change what
 * all the others do.
 */
import { createHash } from 'node:crypto';
import { type Random, seededRandom } from '../../../system/random.ts';
import type { Trace } from '../trace.ts';
import type { VirtualTime } from '../virtual-time.ts';

/** Counts of a run; every run has all of them. */
const FIGURES = [
  'accepted',
  'refused or unanswered',
  'delivered',
  'delivered again',
  'delivered after two providers had buried it',
  'hidden by the client',
  'shown again after a restart',
  'acked',
  'expired unread',
  'forfeited beyond the promise',
  'clients restarted',
  'recipients away until the end',
  'processes killed',
  'power cuts',
  'stores wiped',
  'stores hung',
  'stores slow',
  'stores refusing',
  'links cut',
  'links cut one way',
  'sites cut off',
  'clocks skewed',
  'frames lost',
  'frames doubled',
  'frames out of order',
  'writes lost with the power',
  'crashes at an await',
  'simulated seconds',
] as const;
type Figure = (typeof FIGURES)[number];

export interface Stage {
  readonly time: VirtualTime;
  readonly trace: Trace;
  /** A generator that follows from the seed and this name alone. */
  random(name: string): Random;
  count(figure: Figure, by?: number): void;
  readonly figures: Readonly<Record<Figure, number>>;
}

/** Makes the stage of one run. */
export function createStage(seed: number, time: VirtualTime, trace: Trace): Stage {
  const figures = Object.fromEntries(FIGURES.map((figure) => [figure, 0])) as Record<Figure, number>;
  return {
    time,
    trace,
    random: (name) => seededRandom(createHash('sha256').update(`${seed} ${name}`).digest().readUInt32BE(0)),
    count: (figure, by = 1) => {
      figures[figure] += by;
    },
    figures,
  };
}

/** A number in [min, max). */
export function between(random: Random, min: number, max: number): number {
  return min + random.fraction() * (max - min);
}

/** One of `items`, which must not be empty. */
export function pick<Item>(random: Random, items: readonly Item[]): Item {
  const item = items[Math.floor(random.fraction() * items.length)];
  if (item === undefined) throw new Error('nothing to pick from');
  return item;
}
