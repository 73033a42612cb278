/**
 * Other people's programs in tests: whether they are here, one call, and daemons that end with the test.
 */
import { execFile, spawn, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';

/** Debian puts daemons where a user's PATH does not lead. */
const PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/usr/local/sbin`;

/**
 * The title of a suite that needs these programs, and whether it must be skipped because one is missing. With
 * CI_NO_SKIP=1 it runs, and fails.
 */
export function suiteWith(
  title: string,
  programs: readonly string[],
): { readonly title: string; readonly skipped: boolean } {
  const missing = programs.filter(
    (program) => spawnSync('sh', ['-c', `command -v ${program}`], { env: { PATH } }).status !== 0,
  );
  const skipped = missing.length > 0 && process.env['CI_NO_SKIP'] !== '1';
  return { title: skipped ? `${title} (skipped: no ${missing.join(', ')} on this machine)` : title, skipped };
}

/** Runs a program to its end and gives what it wrote, both streams; a failing exit code does not reject. */
export async function outputOf(program: string, parameters: readonly string[]): Promise<string> {
  const options = { env: { PATH }, timeout: 15_000 };
  try {
    const { stdout, stderr } = await promisify(execFile)(program, parameters, options);
    return stdout + stderr;
  } catch (error) {
    if (error instanceof Error && 'stdout' in error && 'stderr' in error) {
      return String(error.stdout) + String(error.stderr);
    }
    throw error;
  }
}

export interface Daemon extends AsyncDisposable {
  readonly pid: number;
  /** What it wrote so far, both streams. */
  readonly output: () => string;
}

/** Starts a daemon in the foreground; disposing of it kills it and waits for its end. */
export function startDaemon(
  program: string,
  parameters: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Daemon {
  const child = spawn(program, parameters, {
    env: { ...environment, PATH },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  const note = (chunk: Buffer): void => {
    output += chunk.toString();
  };
  child.stdout.on('data', note);
  child.stderr.on('data', note);
  const ended = new Promise<void>((resolve) => {
    child
      .once('close', () => resolve())
      .once('error', (error) => {
        output += String(error);
        resolve();
      });
  });
  return {
    pid: child.pid ?? 0,
    output: () => output,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
