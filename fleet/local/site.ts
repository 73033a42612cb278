/**
 * One site of a local fleet: a relay, a vantage with its nameserver, and a Redis, each a process of its own.
 *
 * It can be lost as a provider would be: every process killed at the same time, the data gone. Its keys are kept
 * elsewhere, so it can come back empty with the same identity.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { Clock } from '../../system/clock.ts';
import type { Identities } from './identities.ts';
import type { Ports, SiteLayout } from './layout.ts';
import { createPart, type PartName, type SitePart } from './part.ts';
import { untilReady } from './private-http.ts';
import type { Processes, ProcessOrder, RunningProcess } from './processes.ts';
import { type RedisPlace, redisConfiguration, setAsideDamaged, untilRedisAnswers } from './redis.ts';
import { relayEnvironment } from './relay-environment.ts';
import type { SiteNetwork } from './site-network.ts';

export type StoreKind = 'redis' | 'memory';

/** Paths of the programs that run; a test may put a faulty one in the place of one of ours. */
export interface Programs {
  /** The Node that runs the other two. */
  readonly node: string;
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
  /** Undefined: everything is on loopback. */
  readonly network: SiteNetwork | undefined;
  readonly settings: PartSettings;
}

/** Settings of a part beside those that it needs to run; they win. */
export type PartSettings = (
  site: string,
  part: PartName,
  directory: string,
) => Readonly<Record<string, string>>;

export interface LocalSite {
  readonly layout: SiteLayout;
  /** Its Redis, and where its data is; undefined with the embedded store. */
  readonly redis: RedisPlace | undefined;
  /** Its processes, in the order in which they start. */
  readonly parts: readonly SitePart[];
  /** Throws when it has none of that name. */
  part(name: PartName): SitePart;
  /** Starts what does not run; resolves once Redis answers and the others have been started. */
  start(): Promise<void>;
  /** Resolves once relay and vantage say that they are ready. */
  untilReady(withinMs: number): Promise<void>;
  /** Kills every process of the site with SIGKILL, at once. Gives the pids that were killed. */
  kill(): Promise<readonly number[]>;
  /** Removes all its data; its keys are elsewhere. To be called when nothing of it runs. */
  wipe(): void;
  /** True when no process of the site is left and its relay's port refuses connections. */
  isGone(): Promise<boolean>;
}

const REDIS_WITHIN_MS = 10_000;
const LAST_WORDS_WITHIN_MS = 2000;

/**
 * A site that is not started. Its `start` rejects, with the last lines of the log, when a process does not come up.
 */
export function createSite(options: SiteOptions): LocalSite {
  const { layout, ports, clock, directory } = options;
  const dataDirectory = join(directory, `${layout.name}-data`);
  const redis = options.store === 'redis' ? redisPlace(options, join(dataDirectory, 'redis')) : undefined;
  const relay = createPart('relay', async (started) => {
    started(
      launch(options, 'relay', [options.programs.node, options.programs.relay], relaySettings(options)),
    );
    await Promise.resolve();
  });
  const vantage = createPart('vantage', async (started) => {
    const state = join(dataDirectory, 'vantage');
    mkdirSync(state, { recursive: true, mode: 0o700 });
    const words = [options.programs.node, options.programs.vantage];
    started(
      launch(options, 'vantage', words, vantageEnvironment(options, state), {
        onLine: options.onVantageLine,
      }),
    );
    await Promise.resolve();
  });
  const parts = [...(redis === undefined ? [] : [createRedisPart(options, redis)]), relay, vantage];
  return {
    layout,
    redis,
    parts,
    part: (name) => {
      const found = parts.find((part) => part.name === name);
      if (found === undefined) throw new Error(`${layout.name} has no ${name}`);
      return found;
    },
    start: async () => {
      for (const part of parts) await part.start();
    },
    untilReady: async (withinMs) => {
      await Promise.all([
        untilReady(relay.running(), layout.relayAddress, ports.private, clock, withinMs),
        untilReady(vantage.running(), layout.vantageAddress, ports.private, clock, withinMs),
      ]);
    },
    kill: async () => {
      const victims = parts.filter((part) => part.isRunning()).map((part) => part.running());
      for (const victim of victims) victim.kill();
      await Promise.all(victims.map(async (victim) => await victim.ended));
      return victims.map((victim) => victim.pid);
    },
    wipe: () => rmSync(dataDirectory, { recursive: true, force: true }),
    isGone: async () =>
      parts.every((part) => !part.isRunning()) && (await refuses(layout.relayAddress, ports.relay)),
  };
}

function redisPlace({ identities, layout, ports }: SiteOptions, directory: string): RedisPlace {
  return {
    address: layout.redisAddress,
    port: ports.redis,
    directory,
    password: identities.redisPassword(layout.name),
  };
}

function createRedisPart(options: SiteOptions, place: RedisPlace): SitePart {
  return createPart('redis', async (started) => {
    mkdirSync(place.directory, { recursive: true, mode: 0o700 });
    const configuration = join(place.directory, 'redis.conf');
    writeFileSync(configuration, redisConfiguration(place), { mode: 0o600 });
    const words = ['redis-server', configuration];
    const log = join(options.directory, `${options.layout.name}-redis.log`);
    const start = async (): Promise<string | undefined> => {
      let isStarting = true;
      const process = launch(options, 'redis', words, commonEnvironment(), { isStarting: () => isStarting });
      started(process);
      const answers = untilRedisAnswers(place, options.clock, REDIS_WITHIN_MS).then(() => undefined);
      try {
        return await Promise.race([answers, process.ended]);
      } finally {
        isStarting = false;
        answers.catch(() => undefined);
      }
    };
    const how = await start();
    if (how === undefined) return;
    // What it said may be on its way to the log.
    const untilMs = options.clock.monotonicMs() + LAST_WORDS_WITHIN_MS;
    while (!setAsideDamaged(place, log)) {
      if (options.clock.monotonicMs() > untilMs) throw new Error(`Redis ended when it started: ${how}`);
      await options.clock.sleep(50);
    }
    const again = await start();
    if (again !== undefined) throw new Error(`Redis ended when it started without its file: ${again}`);
  });
}

/** Starts a process where the site is: in its own network namespace, when it has one. */
function launch(
  options: SiteOptions,
  part: PartName,
  words: readonly string[],
  environment: Readonly<Record<string, string>>,
  watched: Pick<ProcessOrder, 'onLine' | 'isStarting'> = {},
): RunningProcess {
  const site = options.layout.name;
  const [command = '', ...parameters] = options.network?.inside(site, words) ?? words;
  return options.processes.start({
    name: `${site}-${part}`,
    command,
    parameters,
    environment: { ...environment, ...options.settings(site, part, options.directory) },
    ...watched,
  });
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
          RELAY_REDIS_PASSWORD: identities.siteFile(layout.name, 'redis-password'),
        }
      : {}),
  };
}

function vantageEnvironment(options: SiteOptions, stateDirectory: string): Readonly<Record<string, string>> {
  const { layout, ports, identities } = options;
  return {
    ...commonEnvironment(),
    VANTAGE_SITE: layout.name,
    VANTAGE_MANIFEST: identities.manifestFile(layout.name, 'vantage'),
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
    VANTAGE_OPERATOR_TOKEN: identities.siteFile(layout.name, 'operator-token'),
    VANTAGE_STATE_DIR: stateDirectory,
    // All clients of a local fleet share one address, so one budget would be everybody's.
    VANTAGE_RESPONSES_PER_SECOND: '0',
    // Three nameservers share this machine's processors.
    VANTAGE_DNS_THREADS: '1',
    VANTAGE_STOP_WITH_STDIN: 'yes',
    VANTAGE_LOG_LEVEL: 'info',
  };
}

/** Only what a program needs to be found; settings of the caller's own environment must not leak in. */
function commonEnvironment(): Readonly<Record<string, string>> {
  // oxlint-disable-next-line node/no-process-env -- redis-server is looked up on the PATH
  return { PATH: process.env['PATH'] ?? '' };
}

/** Whether a connection to this port is refused at once, which is how a host without the process answers. */
export async function refuses(host: string, port: number): Promise<boolean> {
  const socket = connect({ host, port, timeout: 500 });
  const { promise, resolve } = Promise.withResolvers<boolean>();
  socket.once('connect', () => resolve(false));
  socket.once('timeout', () => resolve(false));
  socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'));
  const refused = await promise;
  socket.destroy();
  return refused;
}
