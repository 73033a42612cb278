/**
 * One part of a site, its relay, its vantage or its Redis: a process that can be taken away and put back alone, again
 * and again, while the rest of the site goes on.
 */
import type { RunningProcess } from './processes.ts';

export type PartName = 'redis' | 'relay' | 'vantage';

export interface SitePart {
  readonly name: PartName;
  /** Starts it, when it does not run. For Redis: resolves once it answers. */
  start(): Promise<void>;
  /** SIGKILL; resolves once it has ended. */
  kill(): Promise<void>;
  /** Asks it to end, and insists after `withinMs` milliseconds; resolves once it has ended. */
  stop(withinMs: number): Promise<void>;
  freeze(): void;
  thaw(): void;
  isRunning(): boolean;
  /** The process that runs; throws when none was ever started. */
  running(): RunningProcess;
}

/** `launch` starts the process and resolves once others may rely on it. */
export function createPart(
  name: PartName,
  launch: (started: (process: RunningProcess) => void) => Promise<void>,
): SitePart {
  let current: RunningProcess | undefined;
  return {
    name,
    start: async () => {
      if (current?.isRunning() === true) return;
      await launch((process) => {
        current = process;
      });
    },
    kill: async () => {
      current?.kill();
      await current?.ended;
    },
    stop: async (withinMs) => await current?.stop(withinMs),
    freeze: () => current?.freeze(),
    thaw: () => current?.thaw(),
    isRunning: () => current?.isRunning() === true,
    running: () => {
      if (current === undefined) throw new Error(`the ${name} was not started`);
      return current;
    },
  };
}
