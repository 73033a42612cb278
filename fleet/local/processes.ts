/**
 * The operating-system processes of a local fleet: started with a log file each, watched, and ended.
 *
 * A process that ends although nobody asked it to is reported with the last lines of its log, because that is what
 * whoever reads the report wants to see first.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Janitor } from './janitor.ts';
import { startOf } from './process-identity.ts';

export interface ProcessOrder {
  /** Unique among the processes that run at the same time; also names the log file. */
  readonly name: string;
  readonly command: string;
  readonly parameters: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** Called with each line of standard output, which goes to the log file too. */
  readonly onLine?: (line: string) => void;
  /** While this holds whoever starts it waits for its end too, and nobody else is told. */
  readonly isStarting?: () => boolean;
}

export interface RunningProcess {
  readonly name: string;
  readonly pid: number;
  /** Resolves once the process has ended, with a description such as `exit code 1` or `SIGKILL`. */
  readonly ended: Promise<string>;
  isRunning(): boolean;
  /** Its end is expected from now on. */
  expectEnd(): void;
  /** Writes a line to its standard input. */
  send(line: string): void;
  /** SIGKILL, and nothing else: no chance to say goodbye. */
  kill(): void;
  /** SIGSTOP: it stays, with every connection and port it has, and does nothing. */
  freeze(): void;
  /** SIGCONT: it goes on as if no time had passed. */
  thaw(): void;
  /** Asks by SIGTERM and by the end of standard input, and insists with SIGKILL after `withinMs` milliseconds. */
  stop(withinMs: number): Promise<void>;
}

export interface Processes {
  start(order: ProcessOrder): RunningProcess;
  /** Stops all that run, at the same time. */
  stopAll(withinMs: number): Promise<void>;
}

export interface ProcessesOptions {
  readonly directory: string;
  readonly janitor: Janitor;
  /** Called with one paragraph when a process ends that nobody ended. */
  readonly onUnexpectedEnd: (what: string) => void;
}

const LOG_LINES_SHOWN = 8;

/** No process yet. Each that it starts ends with this one, however this one ends. */
export function createProcesses(options: ProcessesOptions): Processes {
  const running = new Set<RunningProcess>();
  return {
    start: (order) => {
      const started = startProcess(order, options);
      running.add(started);
      void started.ended.then(() => running.delete(started));
      return started;
    },
    stopAll: async (withinMs) => {
      await Promise.all([...running].map(async (each) => await each.stop(withinMs)));
    },
  };
}

function startProcess(order: ProcessOrder, options: ProcessesOptions): RunningProcess {
  const logFile = join(options.directory, `${order.name}.log`);
  const child = spawn(order.command, order.parameters, {
    cwd: options.directory,
    env: { ...order.environment },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const pid = child.pid ?? 0;
  if (pid > 0) options.janitor.watch(pid);
  collectOutput(child, logFile, order.onLine);
  child.stdin.on('error', () => undefined);
  let expected = false;
  const started: RunningProcess = {
    name: order.name,
    pid,
    ended: endOf(child),
    isRunning: () =>
      child.exitCode === null && child.signalCode === null && pid > 0 && startOf(pid) !== 'none',
    expectEnd: () => {
      expected = true;
    },
    send: (line) => void child.stdin.write(`${line}\n`),
    kill: () => {
      expected = true;
      child.kill('SIGKILL');
    },
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
    stop: async (withinMs) => {
      expected = true;
      child.stdin.end();
      child.kill('SIGTERM');
      // A process that is frozen hears it only now.
      child.kill('SIGCONT');
      const insist = setTimeout(() => child.kill('SIGKILL'), withinMs);
      await started.ended;
      clearTimeout(insist);
    },
  };
  void reportEnd();
  return started;

  async function reportEnd(): Promise<void> {
    const how = await started.ended;
    if (pid > 0) options.janitor.forget(pid);
    if (!expected && order.isStarting?.() !== true)
      options.onUnexpectedEnd(`${order.name} ended by itself (${how}).
${lastLines(logFile)}`);
  }
}

async function endOf(child: ChildProcess): Promise<string> {
  try {
    const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
    return signal ?? `exit code ${code}`;
  } catch (error) {
    return error instanceof Error ? error.message : 'could not be started';
  }
}

function collectOutput(
  child: ChildProcess,
  logFile: string,
  onLine: ((line: string) => void) | undefined,
): void {
  const log = createWriteStream(logFile, { flags: 'a', mode: 0o600 });
  log.on('error', () => undefined);
  child.stderr?.pipe(log, { end: false });
  if (child.stdout === null) return;
  if (onLine === undefined) {
    child.stdout.pipe(log, { end: false });
    return;
  }
  createInterface({ input: child.stdout }).on('line', (line) => {
    log.write(`${line}\n`);
    onLine(line);
  });
}

function lastLines(logFile: string): string {
  try {
    const lines = readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-LOG_LINES_SHOWN);
    return lines.map((line) => `    ${line.slice(0, 300)}`).join('\n');
  } catch {
    return '    (its log cannot be read)';
  }
}
