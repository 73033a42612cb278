/**
 * A process that can die at any of its awaits on the world: once it is dead no timer of it fires, nothing it asked for
 * is answered and nothing it still says is heard. Its code is not told; it just never goes on.
 */
import type { Clock } from '../../../system/clock.ts';
import type { Random } from '../../../system/random.ts';
import type { Stage } from './stage.ts';

export interface Process {
  readonly name: string;
  readonly clock: Clock;
  readonly isAlive: () => boolean;
  /** Timers that wait: a measure of what it holds in memory. */
  readonly timers: () => number;
  /** Calls `listener` when it dies. */
  onDeath(listener: () => void): void;
  /** It ends here and now. */
  die(): void;
  /**
   * Does something in the world for the process and gives what came of it; never settles once the process is dead. Before and
   * after are the moments at which it may crash.
   */
  await<Result>(action: () => Promise<Result>): Promise<Result>;
}

export interface ProcessOptions {
  readonly name: string;
  readonly clockOffsetMs: () => number;
  readonly random: Random;
  /** How likely a crash is at each await, now. */
  readonly crashChance: () => number;
  readonly onCrash: () => void;
}

/** Starts a process on the stage. */
export function createProcess(stage: Stage, options: ProcessOptions): Process {
  let isAlive = true;
  let timers = 0;
  const listeners: (() => void)[] = [];
  const base = stage.time.clockOf({ offsetMs: options.clockOffsetMs, isAlive: () => isAlive });
  const die = (): void => {
    if (!isAlive) return;
    isAlive = false;
    for (const listener of listeners) listener();
  };
  const breathe = (): boolean => {
    if (isAlive && options.random.fraction() < options.crashChance()) {
      stage.count('crashes at an await');
      stage.trace.note(options.name, 'crashes');
      die();
      options.onCrash();
    }
    return isAlive;
  };
  const clock: Clock = {
    ...base,
    after: (ms, callback) => {
      timers += 1;
      let waits = true;
      const settle = (): void => {
        if (waits) timers -= 1;
        waits = false;
      };
      const cancel = base.after(ms, () => {
        settle();
        callback();
      });
      return () => {
        settle();
        cancel();
      };
    },
  };
  return {
    name: options.name,
    clock,
    isAlive: () => isAlive,
    timers: () => timers,
    onDeath: (listener) => void listeners.push(listener),
    die,
    await: (action) =>
      new Promise((resolve, reject) => {
        if (!breathe()) return;
        const answer = (settle: () => void): void => {
          if (breathe()) settle();
        };
        action().then(
          (result) => answer(() => resolve(result)),
          (error: unknown) => answer(() => reject(error instanceof Error ? error : new Error(String(error)))),
        );
      }),
  };
}
