/**
 * Mosquitto for the benchmark: persistence as Debian's package has it, no authentication, and queues that are never full.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../system/clock.ts';
import { freePort, LEASH } from '../support/redis-server.ts';
import { BROKER_NAME, writeBrokerCertificate } from './broker-certificate.ts';
import type { BrokerAddress } from './nats-connection.ts';

export interface Mosquitto {
  readonly addresses: readonly BrokerAddress[];
  readonly serverPids: readonly number[];
  [Symbol.asyncDispose](): Promise<void>;
}

const PROGRAM: string = process.env['MOSQUITTO'] ?? 'mosquitto';
const HOST = '127.104.77.1';
const READY_WITHIN_MS = 10_000;

/** The version of the mosquitto on the PATH or in MOSQUITTO; undefined when there is none. */
export function mosquittoVersion(): string | undefined {
  try {
    const said = execFileSync(PROGRAM, ['-h'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    return /version (\d+\.\d+\.\d+)/.exec(said)?.[1];
  } catch (error) {
    const said = error instanceof Error && 'stdout' in error ? String(error.stdout) : '';
    return /version (\d+\.\d+\.\d+)/.exec(said)?.[1];
  }
}

/** Resolves when it accepts connections. */
export async function startMosquitto(overTls: boolean): Promise<Mosquitto> {
  await using resources = new AsyncDisposableStack();
  const directory = mkdtempSync(join(tmpdir(), 'archipelago-mosquitto-'));
  resources.defer(() => rmSync(directory, { recursive: true, force: true }));
  const authorityPem = overTls ? await writeBrokerCertificate(directory) : undefined;
  const port = await freePort(HOST);
  const lines = [
    ...(process.getuid?.() === 0 ? ['user root'] : []),
    `listener ${port} ${HOST}`,
    'allow_anonymous true',
    'persistence true',
    `persistence_location ${directory}/`,
    'max_queued_messages 0',
    'max_inflight_messages 256',
    'set_tcp_nodelay true',
    ...(overTls ? [`certfile ${directory}/certificate.pem`, `keyfile ${directory}/key.pem`] : []),
  ];
  const file = join(directory, 'mosquitto.conf');
  writeFileSync(file, `${lines.join('\n')}\n`);
  const command = [...LEASH, PROGRAM];
  const child = spawn(command[0] ?? PROGRAM, [...command.slice(1), '-c', file], { stdio: 'ignore' });
  resources.defer(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  });
  await untilListening(port);
  const tls = authorityPem === undefined ? undefined : { serverName: BROKER_NAME, authorityPem };
  const kept = resources.move();
  return {
    addresses: [{ host: HOST, port, tls }],
    serverPids: [child.pid ?? 0],
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

async function untilListening(port: number): Promise<void> {
  const untilMs = systemClock.monotonicMs() + READY_WITHIN_MS;
  for (;;) {
    const socket = connect({ host: HOST, port });
    try {
      await once(socket, 'connect');
      return;
    } catch (error) {
      if (systemClock.monotonicMs() > untilMs) throw new Error('mosquitto does not start', { cause: error });
    } finally {
      socket.destroy();
    }
    await systemClock.sleep(50);
  }
}
