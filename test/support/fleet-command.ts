/**
 * The `fleet` command as a process of its own, as a person would run it, and a way to see whether anything of it is
 * left.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { startOf } from '../../fleet/local/process-identity.ts';
import { eventually } from './eventually.ts';

const PROGRAM = join(import.meta.dirname, '../../fleet/main.mjs');

export interface FleetCommand {
  readonly process: ChildProcess;
  /** Both streams, as they came. */
  output(): string;
  /** Resolves with the exit code or the signal. */
  readonly ended: Promise<number | string>;
  /** The temporary directory of the fleet, once there is one. */
  directory(): Promise<string>;
  /** Resolves once the output contains `text`. */
  untilSaid(text: string, withinMs?: number): Promise<void>;
}

/** Starts it with these words; `environment` is added to the caller's. */
export function runFleetCommand(
  words: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): FleetCommand {
  const child = spawn(process.execPath, [PROGRAM, ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...environment },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const ended = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | string);
  return {
    process: child,
    output: () => output,
    ended,
    directory: () =>
      eventually('a process with a directory of the fleet', () => {
        const found = descendants(child.pid ?? 0).map(workingDirectory);
        return found.find((path) => /\/archipelago-\w{6}$/.test(path));
      }),
    untilSaid: async (text, withinMs = 60_000) => {
      await eventually(
        `${JSON.stringify(text)} in the output`,
        () => {
          if (output.includes(text)) return true;
          if (child.exitCode !== null) throw new Error(`it ended and never said ${text}:\n${output}`);
          return undefined;
        },
        withinMs,
      );
    },
  };
}

/** A process, safe against the reuse of its pid. */
export type ProcessId = readonly [pid: number, start: string];

/** Everything that this process has started, and what that has started. */
export function familyOf(pid: number): readonly ProcessId[] {
  return descendants(pid).map((each): ProcessId => [each, startOf(each)]);
}

/** The command line of a process, without its final separator. */
export function argumentsOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trimEnd();
  } catch {
    return '';
  }
}

/** Resolves once none of the processes lives and the directory is gone. */
export async function untilNothingIsLeft(family: readonly ProcessId[], directory: string): Promise<void> {
  await eventually(`the end of every process, and of ${directory}`, () => {
    const alive = family.filter(([pid, start]) => startOf(pid) === start);
    return alive.length === 0 && !existsSync(directory) ? true : undefined;
  });
}

function descendants(pid: number): readonly number[] {
  const children = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((each) => parentOf(each) === pid);
  return children.flatMap((child) => [child, ...descendants(child)]);
}

function parentOf(pid: number): number {
  try {
    return Number(/^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  } catch {
    return 0;
  }
}

function workingDirectory(pid: number): string {
  try {
    return (
      readFileSync(`/proc/${pid}/environ`, 'latin1').match(
        /(?:_STATE_DIR|_TLS_KEY)=(\S*?\/archipelago-\w{6})\//,
      )?.[1] ?? ''
    );
  } catch {
    return '';
  }
}
