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
export interface Pace {
  /** Between the beginnings of two groups, milliseconds. */
  readonly ms: number;
  /** Items of a group after which the next one keeps the pace: fewer are of callers who would only wait. */
  readonly fromItems: number;
  readonly clock: Clock;
}

interface Caller<Item, Outcome> {
  readonly items: readonly Item[];
  resolve(outcomes: readonly Outcome[]): void;
  reject(reason: unknown): void;
}

/** Items beyond which a group takes no further caller. */
const GROUP_ITEMS_MAX = 512;
/** Items that wait for no pace. */
const FULL_ITEMS = 128;

/**
 * Gives a function that hands its items to `run` together with those of other callers and resolves with the
 * outcomes of its own, in its order. An outcome may be an Error; a caller that has no other is rejected with
 * the first. One `run` is under way at a time.
 */
export function groupCommit<Item, Outcome>(
  run: (items: readonly Item[]) => Promise<readonly Outcome[]>,
  pace?: Pace,
): (items: readonly Item[]) => Promise<readonly Outcome[]> {
  let waiting: Caller<Item, Outcome>[] = [];
  let waitingItems = 0;
  let isBusy = false;
  let notBeforeMs = Number.NEGATIVE_INFINITY;
  /** Ends the waiting for the pace. */
  let goOn: (() => void) | undefined;

  const flush = async (): Promise<void> => {
    const group = takeGroup(waiting);
    waiting = waiting.slice(group.length);
    const items = group.flatMap((caller) => caller.items);
    waitingItems -= items.length;
    if (pace !== undefined) {
      const isPaced = items.length >= pace.fromItems;
      notBeforeMs = isPaced ? pace.clock.monotonicMs() + pace.ms : Number.NEGATIVE_INFINITY;
    }
    try {
      const outcomes = await run(items);
      let from = 0;
      for (const caller of group) {
        answer(caller, outcomes.slice(from, from + caller.items.length));
        from += caller.items.length;
      }
    } catch (error) {
      for (const caller of group) caller.reject(error);
    }
    isBusy = waiting.length > 0;
    if (isBusy) schedule();
  };
  const schedule = (): void => {
    const leftMs = pace === undefined ? 0 : notBeforeMs - pace.clock.monotonicMs();
    // What its answers set off, and what came meanwhile, belongs to the next group.
    if (pace === undefined || leftMs <= 0 || waitingItems >= FULL_ITEMS) setImmediate(() => void flush());
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
    waiting.push({ items, resolve, reject });
    waitingItems += items.length;
    if (!isBusy) {
      isBusy = true;
      schedule();
    } else if (waitingItems >= FULL_ITEMS) goOn?.();
    return promise;
  };
}

/** As many of those who came first as belong into one group, and at least one. */
function takeGroup<Item, Outcome>(
  waiting: readonly Caller<Item, Outcome>[],
): readonly Caller<Item, Outcome>[] {
  let count = 0;
  for (let items = 0; count < waiting.length; count += 1) {
    items += waiting[count]?.items.length ?? 0;
    if (count > 0 && items > GROUP_ITEMS_MAX) break;
  }
  return waiting.slice(0, count);
}

function answer<Item, Outcome>(caller: Caller<Item, Outcome>, outcomes: readonly Outcome[]): void {
  const [first] = outcomes;
  if (first instanceof Error && outcomes.every((outcome) => outcome instanceof Error)) caller.reject(first);
  else caller.resolve(outcomes);
}
