/**
 * Puts into one group what callers write while another group is under way.
 *
 * With `appendfsync always` Redis pays for one fsync per batch of commands that it reads at once, and Node pays
 * for one system call per write, so a group costs hardly more than its largest part. A write to an idle store goes out
 * in the same turn of the event loop, and a busy store is given everything that came during one fsync for the next. A
 * disk that is fast would make that a group for every few items. Where nobody waits for the outcome, groups can keep a
 * pace while they are large; where somebody does, a pace leaves relay and store idle in turns.
 */
import type { Clock } from '../../system/clock.ts';

/** How often a busy store is written to. */
interface Pace {
  /** Between the beginnings of two groups, milliseconds. */
  readonly ms: number;
  /** Items of a group after which the next one keeps the pace: fewer are of callers who would only wait. */
  readonly fromItems: number;
  readonly clock: Clock;
}

export interface GroupOptions<Item> {
  readonly pace?: Pace;
  /** How much of the store's time an item takes, in small messages; 1 for each by default. */
  readonly weightOf?: (item: Item) => number;
}

/** Who waits for the outcomes of some items; those may go out in several groups, one after the other. */
interface Caller<Item, Outcome> {
  readonly items: readonly Item[];
  /** Items that have gone out. */
  taken: number;
  readonly outcomes: Outcome[];
  /** Items that went out in a group that was rejected, and why the last of them was. */
  lost: number;
  reason: unknown;
  resolve(outcomes: readonly Outcome[]): void;
  reject(reason: unknown): void;
}

/** Some items of one caller in one group. */
interface Part<Item, Outcome> {
  readonly caller: Caller<Item, Outcome>;
  readonly from: number;
  readonly count: number;
}

/** What a group weighs at most, unless it is of a single item: what comes behind it waits for all of it. */
const GROUP_WEIGHT_MAX = 512;
/** What waits for no pace. */
const FULL_WEIGHT = 128;

/**
 * Gives a function that hands its items to `run` together with those of other callers and resolves with the
 * outcomes of its own, in its order. An outcome may be an Error; a caller that has no other is rejected with
 * the first, and one of whose items a group was rejected with the reason. One `run` is under way at a time.
 */
export function groupCommit<Item, Outcome>(
  run: (items: readonly Item[]) => Promise<readonly Outcome[]>,
  { pace, weightOf = () => 1 }: GroupOptions<Item> = {},
): (items: readonly Item[]) => Promise<readonly Outcome[]> {
  const waiting: Caller<Item, Outcome>[] = [];
  let waitingWeight = 0;
  let isBusy = false;
  let notBeforeMs = Number.NEGATIVE_INFINITY;
  /** Ends the waiting for the pace. */
  let goOn: (() => void) | undefined;

  const flush = async (): Promise<void> => {
    const { parts, weight } = takeGroup(waiting, weightOf);
    const items = parts.flatMap(({ caller, from, count }) => caller.items.slice(from, from + count));
    waitingWeight = waiting.length === 0 ? 0 : waitingWeight - weight;
    if (pace !== undefined) {
      const isPaced = items.length >= pace.fromItems;
      notBeforeMs = isPaced ? pace.clock.monotonicMs() + pace.ms : Number.NEGATIVE_INFINITY;
    }
    try {
      const outcomes = await run(items);
      let from = 0;
      for (const { caller, count } of parts) {
        for (const outcome of outcomes.slice(from, from + count)) caller.outcomes.push(outcome);
        from += count;
      }
    } catch (error) {
      for (const { caller, count } of parts) {
        caller.lost += count;
        caller.reason = error;
      }
    }
    for (const { caller } of parts) answer(caller);
    isBusy = waiting.length > 0;
    if (isBusy) schedule();
  };
  const schedule = (): void => {
    const leftMs = pace === undefined ? 0 : notBeforeMs - pace.clock.monotonicMs();
    // What its answers set off, and what came meanwhile, belongs to the next group.
    if (pace === undefined || leftMs <= 0 || waitingWeight >= FULL_WEIGHT) setImmediate(() => void flush());
    else {
      const start = (): void => {
        goOn = undefined;
        void flush();
      };
      const cancel = pace.clock.after(leftMs, start);
      goOn = () => {
        cancel();
        start();
      };
    }
  };

  return (items) => {
    if (items.length === 0) return Promise.resolve([]);
    const { promise, resolve, reject } = Promise.withResolvers<readonly Outcome[]>();
    waiting.push({ items, taken: 0, outcomes: [], lost: 0, reason: undefined, resolve, reject });
    for (const item of items) waitingWeight += weightOf(item);
    if (!isBusy) {
      isBusy = true;
      schedule();
    } else if (waitingWeight >= FULL_WEIGHT) goOn?.();
    return promise;
  };
}

/** As many of those who came first as belong into one group, and one item at least; they wait no more. */
function takeGroup<Item, Outcome>(
  waiting: Caller<Item, Outcome>[],
  weightOf: (item: Item) => number,
): { readonly parts: readonly Part<Item, Outcome>[]; readonly weight: number } {
  const parts: Part<Item, Outcome>[] = [];
  let weight = 0;
  let done = 0;
  for (const caller of waiting) {
    const from = caller.taken;
    for (let item = caller.items[from]; item !== undefined; item = caller.items[caller.taken]) {
      const more = weightOf(item);
      if (weight > 0 && weight + more > GROUP_WEIGHT_MAX) break;
      weight += more;
      caller.taken += 1;
    }
    if (caller.taken > from) parts.push({ caller, from, count: caller.taken - from });
    if (caller.taken < caller.items.length) break;
    done += 1;
  }
  waiting.splice(0, done);
  return { parts, weight };
}

/** Once all items of a caller have gone out and come back it hears what became of them. */
function answer<Item, Outcome>(caller: Caller<Item, Outcome>): void {
  const { items, outcomes, lost } = caller;
  if (outcomes.length + lost < items.length) return;
  const [first] = outcomes;
  if (lost > 0) caller.reject(caller.reason);
  else if (first instanceof Error && outcomes.every((outcome) => outcome instanceof Error))
    caller.reject(first);
  else caller.resolve(outcomes);
}
