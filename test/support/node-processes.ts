/**
 * Our own programs as processes of a test: started with an environment and nothing else, with all that they wrote at
 * hand, and gone with the test.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

export interface NodeProcesses extends AsyncDisposable {
  /** Starts a program, a path below the root of the repository; a name may be used again for its next life. */
  readonly start: (name: string, program: string, environment: Readonly<Record<string, string>>) => void;
  /** Sends the signal and resolves with the exit code once it is gone; at once, with null, when it does not run. */
  end(name: string, signal: NodeJS.Signals): Promise<number | null>;
  /** Resolves with the exit code once it has ended by itself. */
  ended(name: string): Promise<number | null>;
  readonly signal: (name: string, signal: NodeJS.Signals) => void;
  /** Null: it runs, was never started, or a signal ended it. */
  exitCode(name: string): number | null;
  /** 0: there is none of that name. */
  readonly pid: (name: string) => number;
  /** Everything that it has written so far, in all its lives. */
  readonly output: (name: string) => string;
}

const ROOT = join(import.meta.dirname, '../..');

/** None runs yet. */
export function createNodeProcesses(): NodeProcesses {
  const processes = new Map<string, ChildProcess>();
  const outputs = new Map<string, string>();
  const isRunning = (child: ChildProcess): boolean => child.exitCode === null && child.signalCode === null;
  const end: NodeProcesses['end'] = async (name, signal) => {
    const child = processes.get(name);
    if (child === undefined || !isRunning(child)) return null;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
    return child.exitCode;
  };
  return {
    start: (name, program, environment) => {
      const child = spawn(process.execPath, [program], {
        cwd: ROOT,
        stdio: ['pipe', 'pipe', 'pipe'],
        env: { PATH: process.env['PATH'], ...environment },
      });
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding('utf8').on('data', (text: string) => {
          outputs.set(name, (outputs.get(name) ?? '') + text);
        });
      }
      processes.set(name, child);
    },
    end,
    ended: async (name) => {
      const child = processes.get(name);
      if (child !== undefined && isRunning(child)) await once(child, 'exit');
      return child?.exitCode ?? null;
    },
    signal: (name, signal) => void processes.get(name)?.kill(signal),
    exitCode: (name) => processes.get(name)?.exitCode ?? null,
    pid: (name) => processes.get(name)?.pid ?? 0,
    output: (name) => outputs.get(name) ?? '',
    [Symbol.asyncDispose]: async () => {
      await Promise.all([...processes.keys()].map((name) => end(name, 'SIGKILL')));
    },
  };
}
