/**
 * What a benchmark measures: relays as real processes, each with a real Redis of its own that fsyncs every write.
 *
 * `one_store` is one relay that accepts after one copy, and `two_relays` are two of them on one Redis, which share senders and
 * recipients as behind a load balancer; `three_sites` is the relay as it is shipped. Everything ends with the benchmark,
 * also when it is killed: relays end with their stdin.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { findPorts } from '../../fleet/local/free-port.ts';
import { type Identities, makeIdentities } from '../../fleet/local/identities.ts';
import { chooseNetwork, layOut, type Ports, portWishes, type SiteLayout } from '../../fleet/local/layout.ts';
import { relayEnvironment } from '../../fleet/local/relay-environment.ts';
import { systemClock } from '../../system/clock.ts';
import { systemRandom } from '../../system/random.ts';
import { type RedisServer, startRedis } from '../support/redis-server.ts';
import type { Target } from './push-connection.ts';

export const MODES = ['one_store', 'two_relays', 'three_sites'] as const;
export type Mode = (typeof MODES)[number];

/** A relay and its Redis. */
export interface BenchSite {
  readonly name: string;
  readonly address: string;
  readonly relayPid: number;
  readonly redis: RedisServer;
  readonly redisPid: number;
}

export interface Deployment {
  readonly mode: Mode;
  readonly sites: readonly BenchSite[];
  readonly port: number;
  readonly zone: string;
  readonly authorityPem: string;
  /** The relays' common secrets, JSON. */
  readonly secretsFile: string;
  /** A counter of the relays' metrics, summed over the sites. */
  counter(sample: string): Promise<number>;
  [Symbol.asyncDispose](): Promise<void>;
}

const PROGRAMS: Readonly<Record<Mode, string>> = {
  one_store: 'test/bench/relay-one-copy.ts',
  two_relays: 'test/bench/relay-one-copy.ts',
  three_sites: 'relay/main.ts',
};
const NAMES = ['aws', 'gcp', 'hetzner'];
const READY_WITHIN_MS = 20_000;
const ROOT: string = join(import.meta.dirname, '../..');

/** `nodeArguments` go to the relays' Node, such as those that write a profile. */
export async function deploy(mode: Mode, nodeArguments: readonly string[]): Promise<Deployment> {
  await using resources = new AsyncDisposableStack();
  const directory = mkdtempSync(join(tmpdir(), 'archipelago-bench-'));
  resources.defer(() => rmSync(directory, { recursive: true, force: true }));
  const layouts = layOut(chooseNetwork(systemRandom), NAMES);
  const found = await findPorts(portWishes(layouts, undefined));
  if (!found.ok) throw new Error(found.fault);
  const ports = found.value;
  const context = { random: systemRandom, wallMs: systemClock.wallMs() };
  const identities = await makeIdentities(directory, layouts, ports, context);

  const sites: BenchSite[] = [];
  for (const layout of relaysOf(mode, layouts)) {
    const there = mode === 'two_relays' ? sites[0]?.redis : undefined;
    const redis = there ?? (await startRedis());
    if (there === undefined) resources.defer(() => redis.stop());
    const relay = startRelay(PROGRAMS[mode], layout, ports, identities, redis, nodeArguments);
    resources.defer(() => endRelay(relay));
    sites.push({
      name: layout.name,
      address: layout.relayAddress,
      relayPid: relay.pid ?? 0,
      redis,
      redisPid: Number(await infoOf(redis, 'process_id')),
    });
  }
  // Alone, a relay is alive but never ready: readiness asks for a second provider.
  const question = mode === 'three_sites' ? '/readyz' : '/livez';
  for (const { address } of sites) await untilGood(address, ports.private, question);

  const kept = resources.move();
  return {
    mode,
    sites,
    port: ports.relay,
    zone: identities.manifest.zone,
    authorityPem: identities.authorityPem,
    secretsFile: identities.files.secrets,
    counter: async (sample) => {
      const texts = await Promise.all(sites.map(({ address }) => ask(address, ports.private, '/metrics')));
      return texts.reduce((sum, { body }) => sum + sampleIn(body, sample), 0);
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** Where the relays are; the second one of a site has the address of the next. */
function relaysOf(mode: Mode, layouts: readonly SiteLayout[]): readonly SiteLayout[] {
  if (mode === 'three_sites') return layouts;
  const [first, second] = layouts;
  if (first === undefined || second === undefined) throw new RangeError('no sites');
  return mode === 'one_store' ? [first] : [first, { ...first, relayAddress: second.relayAddress }];
}

function startRelay(
  program: string,
  layout: SiteLayout,
  ports: Ports,
  identities: Identities,
  redis: RedisServer,
  nodeArguments: readonly string[],
): ChildProcess {
  return spawn(process.execPath, [...nodeArguments, program], {
    cwd: ROOT,
    stdio: ['pipe', 'ignore', 'inherit'],
    env: {
      PATH: process.env['PATH'],
      ...relayEnvironment(layout, ports, identities),
      RELAY_STORE: 'redis',
      RELAY_REDIS: `${redis.host}:${redis.port}`,
      RELAY_LOG_LEVEL: 'warn',
    },
  });
}

/** With SIGTERM first, so that a profile is written. */
async function endRelay(relay: ChildProcess): Promise<void> {
  if (relay.exitCode !== null || relay.signalCode !== null) return;
  const exited = once(relay, 'exit');
  relay.kill('SIGTERM');
  const cancel = systemClock.after(10_000, () => relay.kill('SIGKILL'));
  await exited;
  cancel();
}

/** One line of what a Redis says of itself (INFO). */
export async function infoOf({ host, port }: RedisServer, field: string): Promise<string> {
  const redis = new Redis({ host, port });
  const info = await redis.info();
  redis.disconnect();
  return new RegExp(`^${field}:(\\S+)`, 'm').exec(info)?.[1] ?? '';
}

/** Where clients find the sites. */
export function targetsOf({ sites, zone, port, authorityPem }: Deployment): readonly Target[] {
  return sites.map(({ name, address }) => ({
    host: address,
    port,
    serverName: `${name}.${zone}`,
    authorityPem,
  }));
}

interface Reply {
  readonly status: number;
  readonly body: string;
}

async function ask(host: string, port: number, path: string): Promise<Reply> {
  const { promise, resolve, reject } = Promise.withResolvers<Reply>();
  const request = get({ host, port, path, timeout: 5000, agent: false }, (response) => {
    let body = '';
    response.setEncoding('utf8').on('data', (chunk: string) => {
      body += chunk;
    });
    response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
  });
  request.on('error', reject).on('timeout', () => request.destroy(new Error(`${path}: no answer`)));
  return promise;
}

async function untilGood(host: string, port: number, path: string): Promise<void> {
  const untilMs = systemClock.monotonicMs() + READY_WITHIN_MS;
  for (;;) {
    const reply = await ask(host, port, path).catch(() => undefined);
    if (reply?.status === 200) return;
    if (systemClock.monotonicMs() > untilMs) throw new Error(`a relay does not start: ${reply?.body ?? ''}`);
    await systemClock.sleep(50);
  }
}

function sampleIn(metrics: string, sample: string): number {
  const line = metrics.split('\n').find((one) => one.startsWith(`${sample} `));
  if (line === undefined) throw new Error(`the relay has no metric ${sample}`);
  return Number(line.slice(sample.length));
}
