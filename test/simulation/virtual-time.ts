/**
 * The time of a simulated world: nothing happens but what was put on this agenda, in order of its time and then of
 * its coming, and between two entries every promise that waits for no time runs to its end. So a run depends on its
 * seed alone, and hours of it take seconds.
 *
 * That holds as long as nothing in the world uses a real timer, real chance, the thread pool or a socket.
 */
import type { Clock } from '../../system/clock.ts';

/** What a clock shows to one simulated machine. */
interface ClockView {
  /** How far its wall clock is off now, milliseconds. */
  readonly offsetMs?: () => number;
  /** Whether the process that holds the clock still runs: timers of a dead one never fire. */
  readonly isAlive?: () => boolean;
}

export interface VirtualTime {
  /** Milliseconds since the world began, with fractions. */
  readonly nowMs: () => number;
  /** Calls `callback` once after `ms` milliseconds, unless the returned function is called before. */
  after(ms: number, callback: () => void): () => void;
  /** Resolves after `ms` milliseconds. */
  sleep(ms: number): Promise<void>;
  /** Time as one process sees it; its wall clock begins in January 2027. */
  clockOf(view?: ClockView): Clock;
  /** Moves time forward by `ms`, one entry at a time. */
  advance(ms: number): Promise<void>;
  /** Entries that wait for their time. */
  readonly pending: () => number;
}

interface Entry {
  readonly atMs: number;
  readonly order: number;
  readonly callback: () => void;
  isCancelled: boolean;
}

const WALL_ORIGIN_MS = 1_800_000_000_000;
/** Turns of the event loop after which promises that wait for nothing else have settled. */
const TURNS = 2;

export function createVirtualTime(): VirtualTime {
  const agenda = createAgenda();
  let nowMs = 0;
  const after: VirtualTime['after'] = (ms, callback) => agenda.add(nowMs + Math.max(0, ms), callback);
  return {
    nowMs: () => nowMs,
    after,
    sleep: (ms) => new Promise((resolve) => void after(ms, resolve)),
    clockOf: ({ offsetMs = () => 0, isAlive = () => true } = {}) => {
      const afterIfAlive: Clock['after'] = (ms, callback) =>
        after(ms, () => {
          if (isAlive()) callback();
        });
      return {
        monotonicMs: () => nowMs,
        wallMs: () => WALL_ORIGIN_MS + Math.floor(nowMs + offsetMs()),
        after: afterIfAlive,
        sleep: (ms, signal) => sleepFor(ms, signal, afterIfAlive),
      };
    },
    advance: async (ms) => {
      const untilMs = nowMs + ms;
      await settle();
      for (let next = agenda.take(untilMs); next !== undefined; next = agenda.take(untilMs)) {
        nowMs = Math.max(nowMs, next.atMs);
        next.callback();
        await settle();
      }
      nowMs = untilMs;
    },
    pending: agenda.size,
  };
}

function settle(): Promise<void> {
  return new Promise((resolve) => {
    let left = TURNS;
    const turn = (): void => {
      left -= 1;
      if (left === 0) resolve();
      else setImmediate(turn);
    };
    setImmediate(turn);
  });
}

async function sleepFor(ms: number, signal: AbortSignal | undefined, after: Clock['after']): Promise<void> {
  signal?.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const cancel = after(ms, resolve);
  const abort = (): void => {
    cancel();
    reject(signal?.reason instanceof Error ? signal.reason : new Error('aborted'));
  };
  signal?.addEventListener('abort', abort, { once: true });
  try {
    await promise;
  } finally {
    // A listener that stays makes every later sleep on the same signal slower.
    signal?.removeEventListener('abort', abort);
  }
}

interface Agenda {
  /** Gives the function that takes the entry back. */
  add(atMs: number, callback: () => void): () => void;
  /** The next entry that is due at `untilMs` or before. */
  take(untilMs: number): Entry | undefined;
  readonly size: () => number;
}

/** A binary heap; what was cancelled leaves when its time comes. */
function createAgenda(): Agenda {
  const heap: Entry[] = [];
  let order = 0;
  let live = 0;
  const isBefore = (a: Entry, b: Entry): boolean =>
    a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
  const rise = (entry: Entry): void => {
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = heap[parentAt];
      if (parent === undefined || isBefore(parent, entry)) break;
      heap[at] = parent;
      at = parentAt;
    }
    heap[at] = entry;
  };
  const removeFirst = (): void => {
    const entry = heap.pop();
    if (entry === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const left = heap[2 * at + 1];
      const right = heap[2 * at + 2];
      if (left === undefined) break;
      const isRight = right !== undefined && isBefore(right, left);
      const child = isRight ? right : left;
      if (isBefore(entry, child)) break;
      heap[at] = child;
      at = 2 * at + (isRight ? 2 : 1);
    }
    heap[at] = entry;
  };
  return {
    add: (atMs, callback) => {
      const entry: Entry = { atMs, order, callback, isCancelled: false };
      order += 1;
      live += 1;
      rise(entry);
      return () => {
        if (!entry.isCancelled) live -= 1;
        entry.isCancelled = true;
      };
    },
    take: (untilMs) => {
      for (let first = heap[0]; first !== undefined && first.atMs <= untilMs; first = heap[0]) {
        removeFirst();
        if (first.isCancelled) continue;
        first.isCancelled = true;
        live -= 1;
        return first;
      }
      return undefined;
    },
    size: () => live,
  };
}
