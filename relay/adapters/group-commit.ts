/**
 * Puts into one group what callers write while another group is under way.
 *
 * With `appendfsync always` Redis pays for one fsync per batch of commands that it reads at once, and Node pays
 * for one system call per write, so a group costs hardly more than its largest part. Nobody waits for a timer: a write
 * to an idle store goes out in the same turn of the event loop, and a busy store is given everything that came during
 * one fsync for the next.
 */

interface Caller<Item, Outcome> {
  readonly items: readonly Item[];
  resolve(outcomes: readonly Outcome[]): void;
  reject(reason: unknown): void;
}

/** Items beyond which a group takes no further caller. */
const GROUP_ITEMS_MAX = 512;

/**
 * Gives a function that hands its items to `run` together with those of other callers and resolves with the
 * outcomes of its own, in its order. `run` gives for each item an outcome or an Error; a caller with an Error among
 * its items is rejected with it, and the others are not. One `run` is under way at a time.
 */
export function groupCommit<Item, Outcome>(
  run: (items: readonly Item[]) => Promise<readonly (Outcome | Error)[]>,
): (items: readonly Item[]) => Promise<readonly Outcome[]> {
  let waiting: Caller<Item, Outcome>[] = [];
  let isBusy = false;

  const flush = async (): Promise<void> => {
    const group = takeGroup(waiting);
    waiting = waiting.slice(group.length);
    try {
      const outcomes = await run(group.flatMap(({ items }) => items));
      let from = 0;
      for (const caller of group) {
        answer(caller, outcomes.slice(from, from + caller.items.length));
        from += caller.items.length;
      }
    } catch (error) {
      for (const caller of group) caller.reject(error);
    }
    isBusy = waiting.length > 0;
    // What its answers set off, and what came meanwhile, belongs to the next group.
    if (isBusy) setImmediate(() => void flush());
  };

  return (items) => {
    if (items.length === 0) return Promise.resolve([]);
    const { promise, resolve, reject } = Promise.withResolvers<readonly Outcome[]>();
    waiting.push({ items, resolve, reject });
    if (!isBusy) {
      isBusy = true;
      setImmediate(() => void flush());
    }
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

function answer<Item, Outcome>(caller: Caller<Item, Outcome>, outcomes: readonly (Outcome | Error)[]): void {
  const done: Outcome[] = [];
  for (const outcome of outcomes) {
    if (outcome instanceof Error) {
      caller.reject(outcome);
      return;
    }
    done.push(outcome);
  }
  caller.resolve(done);
}
