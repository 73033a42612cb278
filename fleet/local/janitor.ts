/**
 * The parent's end of the janitor: whatever happens to this process, SIGKILL included, nothing it started or
 * created is left behind.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { startOf } from './process-identity.ts';

export interface Janitor {
  /** Has this process killed once we are gone. */
  watch(pid: number): void;
  /** The process has ended and was reaped by us. */
  forget(pid: number): void;
  /** Has this directory removed, with all that is in it, once we are gone. */
  adopt(directory: string): void;
  /** Has this network namespace removed once we are gone. */
  adoptNamespace(name: string): void;
  /** Lets the janitor do now what is left to do, and waits until it has ended. */
  finish(): Promise<void>;
}

/** Starts the janitor. It is to be started before anything that it should clean up after. */
export function startJanitor(): Janitor {
  const program = fileURLToPath(new URL('janitor-process.ts', import.meta.url));
  const child: ChildProcess = spawn(process.execPath, [program], {
    detached: true,
    cwd: '/',
    // oxlint-disable-next-line node/no-process-env -- `ip` is looked up on the PATH
    env: { PATH: process.env['PATH'] ?? '' },
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  const ended = once(child, 'exit');
  child.unref();
  child.stdin?.on('error', () => undefined);
  const tell = (note: object): void => void child.stdin?.write(`${JSON.stringify(note)}\n`);
  return {
    watch: (pid) => tell({ pid, start: startOf(pid) }),
    forget: (pid) => tell({ forget: pid }),
    adopt: (directory) => tell({ directory }),
    adoptNamespace: (namespace) => tell({ namespace }),
    finish: async () => {
      child.ref();
      child.stdin?.end();
      await ended;
    },
  };
}
