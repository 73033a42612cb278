/**
 * One site of a local fleet: a relay, a vantage with its nameserver, and a Redis, each a process of its own.
 *
 * It can be destroyed as a provider would be lost: every process killed at the same time, the data gone. Its keys are
 * kept elsewhere, so it can come back empty with the same identity.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { Clock } from '../../system/clock.ts';
import type { Identities } from './identities.ts';
import type { Ports, SiteLayout } from './layout.ts';
import { untilReady } from './private-http.ts';
import type { Processes, RunningProcess } from './processes.ts';
import { redisConfiguration, untilRedisAnswers } from './redis.ts';
import { relayEnvironment } from './relay-environment.ts';

export type StoreKind = 'redis' | 'memory';

/** Paths of the programs that run; a test may put a faulty one in the place of one of ours. */
export interface Programs {
  readonly relay: string;
  readonly vantage: string;
}

export interface SiteOptions {
  readonly layout: SiteLayout;
  readonly ports: Ports;
  readonly store: StoreKind;
  readonly programs: Programs;
  readonly identities: Identities;
  /** The directory of the fleet. */
  readonly directory: string;
  readonly processes: Processes;
  readonly clock: Clock;
  /** Called with every line that the vantage logs. */
  readonly onVantageLine: (line: string) => void;
}

export interface LocalSite {
  readonly layout: SiteLayout;
  /** Starts all its processes; resolves once Redis answers and the others have been started. */
  start(): Promise<void>;
  /** Resolves once relay and vantage say that they are ready. */
  untilReady(withinMs: number): Promise<void>;
  /** Kills every process of the site with SIGKILL, at once, and removes its data. Gives the pids that were killed. */
  destroy(): Promise<readonly number[]>;
  /** True when no process of the site is left and its relay's port refuses connections. */
  isGone(): Promise<boolean>;
  pids(): readonly number[];
}

const REDIS_WITHIN_MS = 10_000;

/**
 * A site that is not started. Its `start` rejects, with the last lines of the log, when a process does not come up.
 */
export function createSite(options: SiteOptions): LocalSite {
  const { layout, ports, processes, clock, directory } = options;
  const dataDirectory = join(directory, `${layout.name}-data`);
  let relay: RunningProcess | undefined;
  let vantage: RunningProcess | undefined;
  let running: readonly RunningProcess[] = [];

  return {
    layout,
    start: async () => {
      const started: RunningProcess[] = [];
      running = started;
      mkdirSync(join(dataDirectory, 'vantage'), { recursive: true, mode: 0o700 });
      if (options.store === 'redis') started.push(await startRedis(options, join(dataDirectory, 'redis')));
      relay = processes.start({
        name: `${layout.name}-relay`,
        command: process.execPath,
        parameters: [options.programs.relay],
        environment: relaySettings(options),
      });
      started.push(relay);
      vantage = processes.start({
        name: `${layout.name}-vantage`,
        command: process.execPath,
        parameters: [options.programs.vantage],
        environment: vantageEnvironment(options, join(dataDirectory, 'vantage')),
        onLine: options.onVantageLine,
      });
      started.push(vantage);
    },
    untilReady: async (withinMs) => {
      if (relay === undefined || vantage === undefined) throw new Error(`${layout.name} was not started`);
      await Promise.all([
        untilReady(relay, layout.relayAddress, ports.private, clock, withinMs),
        untilReady(vantage, layout.vantageAddress, ports.private, clock, withinMs),
      ]);
    },
    destroy: async () => {
      const victims = running;
      for (const victim of victims) victim.kill();
      await Promise.all(victims.map(async (victim) => await victim.ended));
      rmSync(dataDirectory, { recursive: true, force: true });
      return victims.map((victim) => victim.pid);
    },
    isGone: async () =>
      running.every((each) => !each.isRunning()) && (await refuses(layout.relayAddress, ports.relay)),
    pids: () => running.filter((each) => each.isRunning()).map((each) => each.pid),
  };
}

async function startRedis(options: SiteOptions, directory: string): Promise<RunningProcess> {
  const place = {
    address: options.layout.redisAddress,
    port: options.ports.redis,
    directory,
    password: options.identities.redisPassword,
  };
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const configuration = join(directory, 'redis.conf');
  writeFileSync(configuration, redisConfiguration(place), { mode: 0o600 });
  const redis = options.processes.start({
    name: `${options.layout.name}-redis`,
    command: 'redis-server',
    parameters: [configuration],
    environment: commonEnvironment(),
  });
  await untilRedisAnswers(place, options.clock, REDIS_WITHIN_MS);
  return redis;
}

function relaySettings(options: SiteOptions): Readonly<Record<string, string>> {
  const { layout, ports, identities } = options;
  return {
    ...commonEnvironment(),
    ...relayEnvironment(layout, ports, identities),
    RELAY_LOG_LEVEL: 'info',
    RELAY_STORE: options.store,
    ...(options.store === 'redis'
      ? {
          RELAY_REDIS: `${layout.redisAddress}:${ports.redis}`,
          RELAY_REDIS_PASSWORD: identities.files.redisPassword,
        }
      : {}),
  };
}

function vantageEnvironment(options: SiteOptions, stateDirectory: string): Readonly<Record<string, string>> {
  const { layout, ports, identities } = options;
  return {
    ...commonEnvironment(),
    VANTAGE_SITE: layout.name,
    VANTAGE_MANIFEST: identities.files.manifest,
    VANTAGE_MANIFEST_KEY: identities.manifestKey,
    VANTAGE_MANIFEST_VERSION_MIN: '1',
    VANTAGE_DNS_LISTEN: `${layout.vantageAddress}:${ports.dns}`,
    VANTAGE_VOTE_LISTEN: `${layout.vantageAddress}:${ports.votes}`,
    VANTAGE_PRIVATE_LISTEN: `${layout.vantageAddress}:${ports.private}`,
    VANTAGE_VOTE_KEY: identities.siteFile(layout.name, 'vote.key'),
    VANTAGE_ZONE_KEY: identities.siteFile(layout.name, 'zone.key'),
    VANTAGE_TLS_CERTIFICATE: identities.siteFile(layout.name, 'vantage.pem'),
    VANTAGE_TLS_KEY: identities.siteFile(layout.name, 'vantage.key'),
    VANTAGE_CA: identities.files.authority,
    VANTAGE_STATE_DIR: stateDirectory,
    // All clients of a local fleet share one address, so one budget would be everybody's.
    VANTAGE_RESPONSES_PER_SECOND: '0',
    VANTAGE_STOP_WITH_STDIN: 'yes',
    VANTAGE_LOG_LEVEL: 'info',
  };
}

/** Only what a program needs to be found; settings of the caller's own environment must not leak in. */
function commonEnvironment(): Readonly<Record<string, string>> {
  // oxlint-disable-next-line node/no-process-env -- redis-server is looked up on the PATH
  return { PATH: process.env['PATH'] ?? '' };
}

async function refuses(host: string, port: number): Promise<boolean> {
  const socket = connect({ host, port, timeout: 500 });
  const { promise, resolve } = Promise.withResolvers<boolean>();
  socket.once('connect', () => resolve(false));
  socket.once('timeout', () => resolve(false));
  socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'));
  const refused = await promise;
  socket.destroy();
  return refused;
}
