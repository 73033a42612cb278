/**
 * nats-servers with JetStream for the benchmark: one, or three as a cluster, with a file stream that keeps a message in as
 * many copies as there are servers until its consumer acks it (work queue), as a relay keeps it.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../system/clock.ts';
import { freePort, LEASH } from '../support/redis-server.ts';
import { BROKER_NAME, writeBrokerCertificate } from './broker-certificate.ts';
import { STREAM, subjectOf } from './jetstream-clients.ts';
import { type BrokerAddress, connectNats } from './nats-connection.ts';

export interface JetStreamOptions {
  /** Servers, and copies of each message. */
  readonly copies: 1 | 3;
  /** Fsync before a message is taken over, as the relay does; otherwise every two minutes, which is the default. */
  readonly syncAlways: boolean;
  /** Clients, and servers between themselves. */
  readonly overTls: boolean;
}

export interface JetStream {
  readonly addresses: readonly BrokerAddress[];
  readonly serverPids: readonly number[];
  [Symbol.asyncDispose](): Promise<void>;
}

const PROGRAM: string = process.env['NATS_SERVER'] ?? 'nats-server';
const READY_WITHIN_MS = 30_000;
/** The first with `sync_interval`. */
const SYNC_SINCE = 10;

/** The version of the nats-server on the PATH or in NATS_SERVER; undefined when there is none. */
export function natsVersion(): string | undefined {
  try {
    const said = execFileSync(PROGRAM, ['--version'], { encoding: 'utf8' });
    return /v(\d+\.\d+\.\d+)/.exec(said)?.[1];
  } catch {
    return undefined;
  }
}

/** Whether this version can fsync before it takes a message over. */
export function canSyncAlways(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > 2 || (major === 2 && minor >= SYNC_SINCE);
}

/** Starts the servers and makes the stream. Ends them with the benchmark, however it ends. */
export async function startJetStream(options: JetStreamOptions): Promise<JetStream> {
  await using resources = new AsyncDisposableStack();
  const directory = mkdtempSync(join(tmpdir(), 'archipelago-nats-'));
  resources.defer(() => rmSync(directory, { recursive: true, force: true }));
  const authorityPem = options.overTls ? await writeBrokerCertificate(directory) : undefined;
  const servers: Place[] = [];
  for (let number = 1; number <= options.copies; number += 1) {
    const host = `127.${100 + number}.77.1`;
    servers.push({
      name: `nats${number}`,
      host,
      port: await freePort(host),
      routePort: await freePort(host),
      directory,
    });
  }
  const children = servers.map((server) => {
    const child = startServer(server, servers, options);
    resources.defer(() => endServer(child));
    return child;
  });
  const addresses: readonly BrokerAddress[] = servers.map(({ host, port }) => ({
    host,
    port,
    tls: authorityPem === undefined ? undefined : { serverName: BROKER_NAME, authorityPem },
  }));
  await makeStream(addresses, options.copies);
  const kept = resources.move();
  return {
    addresses,
    serverPids: children.map(({ pid }) => pid ?? 0),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

interface Place {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly routePort: number;
  readonly directory: string;
}

/** The configuration of one server of a cluster. */
function configurationOf(server: Place, all: readonly Place[], options: JetStreamOptions): string {
  const { name, host, port, routePort, directory } = server;
  const files = `cert_file: "${directory}/certificate.pem", key_file: "${directory}/key.pem"`;
  const routeTls = `tls { ${files}, ca_file: "${directory}/authority.pem", insecure: true }`;
  const routes = all.filter((other) => other !== server).map((other) => `"${other.host}:${other.routePort}"`);
  const sync = options.syncAlways ? ', sync_interval: always' : '';
  return [
    `server_name: ${name}`,
    `listen: "${host}:${port}"`,
    `jetstream { store_dir: "${directory}/${name}"${sync} }`,
    ...(options.overTls ? [`tls { ${files} }`] : []),
    ...(all.length === 1
      ? []
      : [
          `cluster { name: bench, listen: "${host}:${routePort}", routes: [${routes
            .map((route) => route.replace('"', '"nats://'))
            .join(', ')}]${options.overTls ? `, ${routeTls}` : ''} }`,
        ]),
  ].join('\n');
}

function startServer(server: Place, all: readonly Place[], options: JetStreamOptions): ChildProcess {
  const file = join(server.directory, `${server.name}.conf`);
  writeFileSync(file, configurationOf(server, all, options));
  const command = [...LEASH, PROGRAM];
  const child = spawn(command[0] ?? PROGRAM, [...command.slice(1), '-c', file], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = `${said}${text}`.slice(-2000);
  });
  child.on('error', (error) => {
    throw error;
  });
  child.on('exit', (code) => {
    if (code !== null && code !== 0 && code !== 1) throw new Error(`nats-server ended: ${said}`);
  });
  return child;
}

async function endServer(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

/** A cluster elects its leaders first, so it is asked until it does. */
async function makeStream(addresses: readonly BrokerAddress[], copies: number): Promise<void> {
  const config = {
    name: STREAM,
    subjects: [subjectOf(0).replace('0', '*')],
    retention: 'workqueue',
    storage: 'file',
    num_replicas: copies,
    discard: 'new',
    max_msgs: -1,
    max_bytes: -1,
    duplicate_window: 120_000_000_000,
  };
  const untilMs = systemClock.monotonicMs() + READY_WITHIN_MS;
  let trouble = 'no answer';
  while (systemClock.monotonicMs() < untilMs) {
    try {
      const [first] = addresses;
      if (first === undefined) throw new RangeError('no server');
      const connection = await connectNats(first);
      const answer = await connection.request(`$JS.API.STREAM.CREATE.${STREAM}`, config, 1000);
      connection.close();
      if (answer !== undefined && answer['error'] === undefined) return;
      trouble = answer === undefined ? 'no answer' : JSON.stringify(answer['error']);
    } catch (error) {
      trouble = String(error);
    }
    await systemClock.sleep(200);
  }
  throw new Error(`nats-server makes no stream: ${trouble}`);
}
