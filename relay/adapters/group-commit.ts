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
  /** Items that have not come back. */
  left: number;
  readonly outcomes: Outcome[];
  /** Why a group was rejected in which some of them were. */
  lost: { readonly reason: unknown } | undefined;
  resolve(outcomes: readonly Outcome[]): void;
  reject(reason: unknown): void;
}

/** Some items of one caller in one group. */
interface Part<Item, Outcome> {
  readonly caller: Caller<Item, Outcome>;
  readonly items: readonly Item[];
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
    const items = parts.flatMap((part) => part.items);
    waitingWeight -= weight;
    if (pace !== undefined) {
      const isPaced = items.length >= pace.fromItems;
      notBeforeMs = isPaced ? pace.clock.monotonicMs() + pace.ms : Number.NEGATIVE_INFINITY;
    }
    try {
      const outcomes = await run(items);
      let from = 0;
      for (const { caller, items: some } of parts) {
        for (const outcome of outcomes.slice(from, from + some.length)) caller.outcomes.push(outcome);
        from += some.length;
      }
    } catch (reason) {
      for (const { caller } of parts) caller.lost = { reason };
    }
    for (const { caller, items: some } of parts) {
      caller.left -= some.length;
      if (caller.left === 0) answer(caller);
    }
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
    waiting.push({ items, taken: 0, left: items.length, outcomes: [], lost: undefined, resolve, reject });
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
    if (caller.taken > from) parts.push({ caller, items: caller.items.slice(from, caller.taken) });
    if (caller.taken < caller.items.length) break;
    done += 1;
  }
  waiting.splice(0, done);
  return { parts, weight };
}

function answer<Item, Outcome>(caller: Caller<Item, Outcome>): void {
  const { outcomes, lost } = caller;
  const [first] = outcomes;
  const hasNoOther = first instanceof Error && outcomes.every((outcome) => outcome instanceof Error);
  if (lost !== undefined) caller.reject(lost.reason);
  else if (hasNoOther) caller.reject(first);
  else caller.resolve(outcomes);
}
