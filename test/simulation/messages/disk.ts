/**
 * The store of one site as a server of its own, with a disk: the embedded store behind a log that is synced a moment
 * after it is written, as Redis does with `appendfsync always`. An answer comes only when everything that it may have
 * seen is synced.
 *
 * It can be slow, refuse, or hang: then commands wait in the socket, and are carried out when it goes on, long after
 * whoever sent them has given up. A power cut takes the tail of the log that was not synced; a wipe takes all.
 */
import { createMemoryStore } from '../../../relay/adapters/memory-store.ts';
import { type Epoch, type MessageStore, StoreUnavailable } from '../../../relay/ports.ts';
import type { Random } from '../../../system/random.ts';
import { between, type Stage } from './stage.ts';

/** What a write did, told once it is on disk. */
export type Effect =
  | { readonly type: 'stored'; readonly id: string; readonly expiresMs: number }
  | { readonly type: 'buried'; readonly ids: readonly string[] }
  | { readonly type: 'expired'; readonly nowMs: number };

/** One write: repeatable, because a store that restarts reads its log again. */
interface Write<Result> {
  readonly run: (store: MessageStore) => Promise<Result>;
  readonly effects: (result: Result) => readonly Effect[];
}

export interface Disk {
  read<Result>(run: (store: MessageStore) => Promise<Result>): Promise<Result>;
  write<Result>(write: Write<Result>): Promise<Result>;
  /** What it holds now, for the checker: no delay, no fault. */
  readonly contents: () => MessageStore;
  slow(byMs: number): void;
  hang(): void;
  refuse(): void;
  /** Ends slowness, hanging and refusing. */
  mend(): void;
  /** Off at once; what was not synced is gone, a part of it at random. It answers again after `forMs`. */
  cutPower(forMs: number): void;
  /** Calls back once, while the next write is not synced yet. */
  atNextWrite(callback: () => void): void;
  /** Everything is gone, the epoch too. It answers again after `forMs`. */
  wipe(forMs: number): void;
  /** Not slow, hanging, refusing or off. */
  readonly isWell: () => boolean;
}

export interface DiskOptions {
  readonly site: string;
  readonly random: Random;
  readonly onDurable: (effects: readonly Effect[]) => void;
  readonly onWiped: () => void;
  /** Makes the store that holds it all; a mutant's may be wrong. */
  readonly createStore?: () => MessageStore;
  /** What it begins with. */
  readonly epoch: Epoch | undefined;
}

/** What an fsync takes at least and at most, milliseconds. */
const SYNC_MS = [0.3, 3] as const;

interface LogEntry {
  readonly replay: (store: MessageStore) => Promise<unknown>;
  readonly effects: readonly Effect[];
}

/** Makes an empty one that answers. */
export function createDisk(stage: Stage, options: DiskOptions): Disk {
  const { random } = options;
  const { time } = stage;
  const createStore = options.createStore ?? createMemoryStore;
  let store = createStore();
  let log: LogEntry[] = [];
  let synced = 0;
  let isSyncing = false;
  /** Everything before a restart is cut off: its answers never come. */
  let life = 0;
  let slowMs = 0;
  let state: 'well' | 'hanging' | 'refusing' | 'off' = 'well';
  let waiting: (() => void)[] = [];
  let writeWatcher: (() => void) | undefined;
  let syncWaiters: { readonly position: number; readonly resolve: () => void }[] = [];

  if (options.epoch !== undefined) {
    const { epoch } = options;
    log.push({ replay: (fresh) => fresh.replaceEpoch(undefined, epoch), effects: [] });
    synced = 1;
    void store.replaceEpoch(undefined, epoch);
  }
  const goOn = (): void => {
    const released = waiting;
    waiting = [];
    for (const release of released) release();
  };
  const sync = (): void => {
    if (isSyncing || synced === log.length) return;
    isSyncing = true;
    const mine = life;
    const position = log.length;
    time.after(between(random, ...SYNC_MS) + slowMs / 2, () => {
      if (mine !== life) return;
      isSyncing = false;
      const effects = log.slice(synced, position).flatMap((entry) => entry.effects);
      synced = position;
      options.onDurable(effects);
      const due = syncWaiters.filter((waiter) => waiter.position <= synced);
      syncWaiters = syncWaiters.filter((waiter) => waiter.position > synced);
      for (const { resolve } of due) resolve();
      sync();
    });
  };
  const answerWhenSynced = async (): Promise<void> => {
    const position = log.length;
    if (position > synced) {
      const { promise, resolve } = Promise.withResolvers<void>();
      syncWaiters.push({ position, resolve });
      sync();
      await promise;
    }
  };
  const untilItGoesOn = async (): Promise<void> => {
    if (state !== 'hanging') return;
    const { promise, resolve } = Promise.withResolvers<void>();
    waiting.push(resolve);
    await promise;
    // It may hang again by now.
    await untilItGoesOn();
  };
  /** The way to the store: delay, then whatever state it is in. Rejects when the connection broke meanwhile. */
  const reach = async (): Promise<number> => {
    const mine = life;
    if (state === 'off') throw new StoreUnavailable('the connection is refused');
    await time.sleep(between(random, 0.05, 0.6) + slowMs / 2);
    await untilItGoesOn();
    if (mine !== life) throw new StoreUnavailable('the connection is gone');
    if (state === 'refusing') throw new StoreUnavailable('it cannot write');
    return mine;
  };
  const come = async (mine: number): Promise<void> => {
    await answerWhenSynced();
    if (mine !== life) throw new StoreUnavailable('the connection is gone');
  };
  const restart = (kept: readonly LogEntry[], forMs: number): void => {
    life += 1;
    const mine = life;
    state = 'off';
    slowMs = 0;
    isSyncing = false;
    for (const { resolve } of syncWaiters) resolve();
    syncWaiters = [];
    log = [...kept];
    synced = log.length;
    goOn();
    const load = async (): Promise<void> => {
      const next = createStore();
      for (const entry of log) await entry.replay(next);
      store = next;
      await time.sleep(forMs);
      if (mine === life) state = 'well';
    };
    void load();
  };

  return {
    read: async (run) => {
      const mine = await reach();
      const result = await run(store);
      await come(mine);
      return result;
    },
    write: async ({ run, effects }) => {
      const mine = await reach();
      const result = await run(store);
      log.push({ replay: run, effects: effects(result) });
      if (writeWatcher !== undefined) time.after(SYNC_MS[0] / 2, writeWatcher);
      writeWatcher = undefined;
      await come(mine);
      return result;
    },
    contents: () => store,
    slow: (byMs) => {
      slowMs = byMs;
    },
    hang: () => {
      if (state === 'well') state = 'hanging';
    },
    refuse: () => {
      if (state === 'well') state = 'refusing';
    },
    mend: () => {
      slowMs = 0;
      if (state === 'off') return;
      state = 'well';
      goOn();
    },
    cutPower: (forMs) => {
      const kept = synced + Math.floor(random.fraction() * (log.length - synced + 1));
      stage.count('writes lost with the power', log.length - kept);
      const survived = log.slice(synced, kept).flatMap((entry) => entry.effects);
      restart(log.slice(0, kept), forMs);
      options.onDurable(survived);
    },
    atNextWrite: (callback) => {
      writeWatcher = callback;
    },
    wipe: (forMs) => {
      restart([], forMs);
      options.onWiped();
    },
    isWell: () => state === 'well' && slowMs === 0,
  };
}
