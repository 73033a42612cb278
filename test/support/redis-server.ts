/**
 * A real redis-server for a test: the production settings, an address and a directory of its own, and nothing
 * left behind. It can be killed and started again on the same port with what it had on disk.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export interface RedisServer {
  readonly host: string;
  readonly port: number;
  /** Where it keeps its files. */
  readonly directory: string;
  /** Starts it again after `kill`, on what is on disk; resolves when it accepts commands. `settings` as before. */
  start(settings?: Readonly<Record<string, string>>): Promise<void>;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
  /** Its last lines, of all its starts. */
  readonly said: () => string;
  /** SIGSTOP: the process keeps its connections and answers nothing. */
  pause(): void;
  resume(): void;
  /** Ends it for good and removes its directory. */
  stop(): Promise<void>;
}

/** redis.conf as a relay demands it. */
const PRODUCTION: Readonly<Record<string, string>> = {
  appendonly: 'yes',
  appendfsync: 'always',
  'no-appendfsync-on-rewrite': 'no',
  'maxmemory-policy': 'noeviction',
  save: '',
  'slowlog-log-slower-than': '-1',
};

/** Why tests with a real Redis are skipped, or undefined when they run. CI_NO_SKIP=1 makes them run and fail. */
export const redisMissing: string | undefined = findMissing();

/** Makes the kernel kill the server when the test's process dies, however it dies; where there is setpriv. */
export const LEASH: readonly string[] = runs('setpriv') ? ['setpriv', '--pdeathsig', 'KILL'] : [];

function findMissing(): string | undefined {
  if (process.env['CI_NO_SKIP'] === '1' || runs('redis-server')) return undefined;
  return 'redis-server is not installed';
}

function runs(program: string): boolean {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** `settings` stand in for those of production, or add to them; `''` as in redis.conf. */
export async function startRedis(settings: Readonly<Record<string, string>> = {}): Promise<RedisServer> {
  const host = `127.${octet()}.${octet()}.${octet()}`;
  const port = await freePort(host);
  const directory = mkdtempSync(join(tmpdir(), 'archipelago-redis-'));
  const place = { bind: host, port: String(port), dir: directory, 'cluster-announce-ip': host };
  let child: ChildProcess | undefined;
  const said: string[] = [];
  const killNow = (): void => {
    child?.kill('SIGKILL');
  };
  process.on('exit', killNow);

  const kill = async (): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    killNow();
    await gone;
  };
  const start = async (changed: Readonly<Record<string, string>> = {}): Promise<void> => {
    const given = Object.entries({ ...PRODUCTION, ...settings, ...changed, ...place });
    const argv = given.flatMap(([name, value]) => [`--${name}`, value]);
    const [program, ...before] = [...LEASH, 'redis-server'];
    child = spawn(program ?? '', [...before, ...argv], { stdio: ['ignore', 'pipe', 'inherit'] });
    await untilReady(child, said);
  };
  const stop = async (): Promise<void> => {
    await kill();
    process.off('exit', killNow);
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    await start();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    host,
    port,
    directory,
    start,
    kill,
    said: () => said.map((line) => `${line}\n`).join(''),
    pause: () => void child?.kill('SIGSTOP'),
    resume: () => void child?.kill('SIGCONT'),
    stop,
  };
}

/** Resolves once it is ready; `said` gets its lines until it ends. */
function untilReady(child: ChildProcess, said: string[]): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  child.once('error', reject);
  // Not before its last words are here.
  child.once('close', () => reject(new Error(`redis-server ended: ${said.slice(-5).join(' | ')}`)));
  if (child.stdout !== null) {
    createInterface({ input: child.stdout }).on('line', (line) => {
      said.push(line);
      if (said.length > 100) said.shift();
      if (line.includes('Ready to accept connections')) resolve();
    });
  }
  return promise;
}

/** A port of `host` that nobody listens at now. */
export async function freePort(host: string): Promise<number> {
  const server = createServer().listen(0, host);
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

function octet(): number {
  return 1 + Math.floor(Math.random() * 250);
}
