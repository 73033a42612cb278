/**
 * A whole fleet on this machine: three sites at three providers, brought up, watched, and taken down without a
 * trace.
 */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../../system/clock.ts';
import type { Random } from '../../system/random.ts';
import { ok, type Result } from '../../system/result.ts';
import { stageArchive, stageWorkingTree } from '../release/local-tree.ts';
import { pushFirst } from './first-push.ts';
import { findPorts } from './free-port.ts';
import { type Identities, makeIdentities } from './identities.ts';
import { startJanitor } from './janitor.ts';
import { chooseNetwork, firstWishes, layOut, type Ports, portWishes } from './layout.ts';
import { createProcesses, type Processes } from './processes.ts';
import { createSite, type LocalSite, type PartSettings, type Programs, type StoreKind } from './site.ts';
import { chooseTestNetwork, createSiteNetwork, type SiteNetwork } from './site-network.ts';

export const LOCAL_SITES = ['aws', 'gcp', 'hetzner'] as const;
export type LocalSiteName = (typeof LOCAL_SITES)[number];

export interface FleetOptions {
  readonly store: StoreKind;
  /** The port of all relays; undefined to take a free one. */
  readonly relayPort: number | undefined;
  /** An archive of `npm run release`; undefined: the release of the working tree. */
  readonly release?: string | undefined;
  /** What runs in the place of the release's own. */
  readonly programs: Partial<Programs>;
  readonly clock: Clock;
  readonly random: Random;
  /** Called once, with one paragraph, when a process ends that nobody ended. */
  readonly onUnexpectedEnd: (what: string) => void;
  /** Called with every line that a vantage logs. */
  readonly onVantageLine: (line: string) => void;
  /** Each site in a network namespace of its own, which needs root; otherwise all are on loopback. */
  readonly separate?: boolean;
  readonly settings?: PartSettings;
}

export interface LocalFleet {
  readonly directory: string;
  readonly ports: Ports;
  readonly identities: Identities;
  readonly sites: readonly LocalSite[];
  readonly processes: Processes;
  /** Where this machine is in the network of the sites; no part of the fleet is there. */
  readonly hostAddress: string;
  /** Undefined: everything is on loopback. */
  readonly network: SiteNetwork | undefined;
  site(name: LocalSiteName): LocalSite;
  /**
   * Starts every site; resolves when all are ready, rejects with the reason of the one that is not, or with the
   * signal's reason as soon as it aborts.
   */
  start(signal: AbortSignal): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** The fleet cannot be made for a reason that its user can do something about; the message is a sentence. */
export class FleetUnavailable extends Error {
  override readonly name = 'FleetUnavailable';
}

const READY_WITHIN_MS = 30_000;
const STOP_WITHIN_MS = 3000;

/** Lays the fleet out and makes its keys; nothing runs yet but the janitor. Throws `FleetUnavailable`. */
export async function createFleet(options: FleetOptions): Promise<LocalFleet> {
  const separate = options.separate === true;
  const place = separate ? chooseTestNetwork(options.random) : chooseNetwork(options.random);
  const layouts = layOut(place, LOCAL_SITES);
  const wishes = portWishes(layouts, options.relayPort);
  // In a namespace of its own every port is free.
  const ports = separate ? ok(firstWishes(wishes)) : await findPorts(wishes);
  if (!ports.ok) throw new FleetUnavailable(ports.fault);
  const janitor = startJanitor();
  const directory = mkdtempSync(join(tmpdir(), 'archipelago-'));
  janitor.adopt(directory);
  chmodSync(directory, 0o700);
  const staged = stageRelease(options.release, join(directory, 'release'));
  if (!staged.ok) {
    rmSync(directory, { recursive: true });
    await janitor.finish();
    throw new FleetUnavailable(staged.fault);
  }
  const network = separate ? createSiteNetwork(place, layouts, janitor) : undefined;
  const context = { wallMs: options.clock.wallMs(), random: options.random };
  const identities = await makeIdentities(directory, layouts, ports.value, context, ['relay', 'vantage']);
  const processes = createProcesses({ directory, janitor, onUnexpectedEnd: options.onUnexpectedEnd });
  const sites = layouts.map((layout) =>
    createSite({
      layout,
      ports: ports.value,
      store: options.store,
      programs: { ...staged.value, ...options.programs },
      identities,
      directory,
      processes,
      clock: options.clock,
      onVantageLine: options.onVantageLine,
      network,
      settings: options.settings ?? (() => ({})),
    }),
  );
  return {
    directory,
    ports: ports.value,
    identities,
    sites,
    processes,
    hostAddress: `${place}.1`,
    network,
    site: (name) => {
      const found = sites.find((site) => site.layout.name === name);
      if (found === undefined) throw new Error(`no site ${name}`);
      return found;
    },
    start: async (signal) => await startAll(sites, identities, options.clock, signal),
    [Symbol.asyncDispose]: async () => {
      await processes.stopAll(STOP_WITHIN_MS);
      network?.dispose();
      rmSync(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
      await janitor.finish();
    },
  };
}

async function startAll(
  sites: readonly LocalSite[],
  { signed }: Identities,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = (): void => reject(signal.reason as Error);
  signal.throwIfAborted();
  signal.addEventListener('abort', abort, { once: true });
  const started = Promise.all([
    pushFirst(signed, { clock, withinMs: READY_WITHIN_MS, signal }),
    ...sites.map(async (site) => {
      await site.start();
      await site.untilReady(READY_WITHIN_MS);
    }),
  ]);
  // After an abort, what else goes wrong is only an echo of it.
  started.catch(() => undefined);
  try {
    await Promise.race([started, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/** The programs of the release, none of the working tree. The fault is a sentence. */
function stageRelease(archive: string | undefined, tree: string): Result<Programs, string> {
  if (archive === undefined) stageWorkingTree(tree);
  else {
    const staged = stageArchive(archive, tree);
    if (!staged.ok) return staged;
  }
  return ok({
    node: join(tree, 'bin/node'),
    relay: join(tree, 'relay/main.ts'),
    vantage: join(tree, 'healthcheck/main.ts'),
  });
}
