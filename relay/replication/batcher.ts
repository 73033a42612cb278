/**
 * Gathers single items into batches: an item goes out at once while no call is under way, and what arrives meanwhile
 * goes out together. So a quiet relay is fast and a busy one pays for one fsync and one frame per batch.
 */
import type { Clock } from '../../system/clock.ts';

export interface BatcherOptions<Item, Answer> {
  /** Gives one answer or Error for each item, in order. A rejection is the answer to all of them. */
  readonly run: (items: readonly Item[]) => Promise<readonly (Answer | Error)[]>;
  readonly callsMax: number;
  readonly itemsMax: number;
  /** Bytes an item counts for, and how many a batch may have. */
  readonly sizeOf: (item: Item) => number;
  readonly bytesMax: number;
  /** Items that may wait, and their bytes; more are refused by `Congested`. */
  readonly waitingMax: number;
  readonly waitingBytesMax: number;
  /**
   * Between the beginnings of two calls of which the first is still under way, milliseconds, unless the second is full.
   * A far site would otherwise get a frame for almost every item.
   */
  readonly pace?: { readonly ms: number; readonly clock: Clock };
}

/** More is waiting than can be worked off; nothing was done. */
export class Congested extends Error {
  override readonly name = 'Congested';
}

/** Called once, never within the call that it was given to. */
type Settle<Answer> = (answer: Answer | Error) => void;

interface Waiting<Item, Answer> {
  readonly item: Item;
  readonly settle: Settle<Answer>;
}

export interface Batcher<Item, Answer> {
  add(item: Item): Promise<Answer>;
  /** The same for who waits for several of them: a function costs less than a promise. */
  offer(item: Item, settle: Settle<Answer>): void;
}

/** A batcher with nothing waiting. An item rejects with its own error, or with that of the batch that it was in. */
export function createBatcher<Item, Answer>(options: BatcherOptions<Item, Answer>): Batcher<Item, Answer> {
  const waiting: Waiting<Item, Answer>[] = [];
  let waitingBytes = 0;
  const pacer = createPacer(options.pace);
  let calls = 0;
  let scheduled = false;

  const takeBatch = (): readonly Waiting<Item, Answer>[] => {
    let bytes = 0;
    let count = 0;
    for (const { item } of waiting) {
      const size = options.sizeOf(item);
      if (count > 0 && (bytes + size > options.bytesMax || count >= options.itemsMax)) break;
      bytes += size;
      count += 1;
    }
    waitingBytes -= bytes;
    return waiting.splice(0, count);
  };

  const runBatch = async (batch: readonly Waiting<Item, Answer>[]): Promise<void> => {
    let answers: readonly (Answer | Error)[];
    try {
      answers = await options.run(batch.map(({ item }) => item));
    } catch (error) {
      const reason = error instanceof Error ? error : new Error(String(error));
      answers = batch.map(() => reason);
    }
    calls -= 1;
    flush();
    batch.forEach(({ settle }, place) => settle(answers[place] ?? new Error('a batch was answered in part')));
  };

  const flush = (): void => {
    scheduled = false;
    while (waiting.length > 0 && calls < options.callsMax) {
      if (calls > 0 && waiting.length < options.itemsMax && pacer.isTooEarly(flush)) return;
      calls += 1;
      pacer.called();
      void runBatch(takeBatch());
    }
  };

  const offer = (item: Item, settle: Settle<Answer>): void => {
    const isFull = waiting.length >= options.waitingMax || waitingBytes >= options.waitingBytesMax;
    if (isFull) {
      queueMicrotask(() => settle(new Congested('too much is waiting')));
      return;
    }
    waitingBytes += options.sizeOf(item);
    waiting.push({ item, settle });
    // Everything that arrives in the same turn of the event loop travels together.
    if (!scheduled) {
      scheduled = true;
      setImmediate(flush);
    }
  };

  return {
    offer,
    add: (item) =>
      new Promise((resolve, reject) => {
        offer(item, (answer) => {
          if (answer instanceof Error) reject(answer);
          else resolve(answer);
        });
      }),
  };
}

interface Pacer {
  /** Whether it is too early for the next call; then `later` is called when it no longer is. */
  isTooEarly(later: () => void): boolean;
  called(): void;
}

function createPacer(pace: BatcherOptions<never, never>['pace']): Pacer {
  let isPacing = false;
  let calledMs = Number.NEGATIVE_INFINITY;
  return {
    isTooEarly: (later) => {
      if (pace === undefined) return false;
      const leftMs = calledMs + pace.ms - pace.clock.monotonicMs();
      if (leftMs <= 0) return false;
      if (isPacing) return true;
      isPacing = true;
      pace.clock.after(leftMs, () => {
        isPacing = false;
        later();
      });
      return true;
    },
    called: () => {
      calledMs = pace?.clock.monotonicMs() ?? calledMs;
    },
  };
}
