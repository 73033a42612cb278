/**
 * Puts what many callers write within one turn of the event loop into one group.
 *
 * With `appendfsync always` Redis pays for one fsync per batch of commands that it reads at once, and Node pays
 * for one system call per write, so a group costs hardly more than its largest part. Nobody waits for a timer.
 */

interface Caller<Outcome> {
  readonly from: number;
  readonly to: number;
  resolve(outcomes: readonly Outcome[]): void;
  reject(reason: unknown): void;
}

/**
 * Gives a function that hands its items to `run` together with those of other callers and resolves with the
 * outcomes of its own, in its order. `run` gives for each item an outcome or an Error; a caller with an Error among
 * its items is rejected with it, and the others are not.
 */
export function groupCommit<Item, Outcome>(
  run: (items: readonly Item[]) => Promise<readonly (Outcome | Error)[]>,
): (items: readonly Item[]) => Promise<readonly Outcome[]> {
  let items: Item[] = [];
  let callers: Caller<Outcome>[] = [];

  const flush = async (): Promise<void> => {
    const group = callers;
    const written = items;
    callers = [];
    items = [];
    try {
      const outcomes = await run(written);
      for (const caller of group) answer(caller, outcomes.slice(caller.from, caller.to));
    } catch (error) {
      for (const caller of group) caller.reject(error);
    }
  };

  return (added) => {
    if (added.length === 0) return Promise.resolve([]);
    const { promise, resolve, reject } = Promise.withResolvers<readonly Outcome[]>();
    if (callers.length === 0) setImmediate(() => void flush());
    callers.push({ from: items.length, to: items.length + added.length, resolve, reject });
    for (const item of added) items.push(item);
    return promise;
  };
}

function answer<Outcome>(caller: Caller<Outcome>, outcomes: readonly (Outcome | Error)[]): void {
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
