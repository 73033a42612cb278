/**
 * A site of the simulated fleet: one disk, and relays that are production code from the public app down to the peer
 * protocol. They get another clock, another store, other wires and another check of tokens, and nothing else.
 */
import type { Duplex } from 'node:stream';
import type { Manifest, SiteEntry, SiteName } from '../../../fleet/manifest/manifest.ts';
import { servePeer } from '../../../relay/adapters/peer-listener.ts';
import { RELAY_SETTINGS, type RelayConfig } from '../../../relay/config.ts';
import { COPIES_NEEDED } from '../../../relay/core/copies.ts';
import type { KeyRing } from '../../../relay/core/key-ring.ts';
import type { MailboxTag } from '../../../relay/core/mailbox.ts';
import type { MailboxTokenVerifier } from '../../../relay/http/mailbox-token.ts';
import type { MessageStore } from '../../../relay/ports.ts';
import { type RelayDeps, type RunningRelay, runRelayParts } from '../../../relay/relay.ts';
import { createAcceptor } from '../../../relay/replication/acceptor.ts';
import type { PeerService } from '../../../relay/replication/peer-service.ts';
import type { Log } from '../../../system/log.ts';
import type { Metrics } from '../../../system/metrics.ts';
import { createDisk, type Disk, type Effect } from './disk.ts';
import { createProcess, type Process } from './machine.ts';
import type { Network } from './network.ts';
import type { ClientMemory } from './recipients.ts';
import { between, type Stage } from './stage.ts';
import { createStoreClient, type StoreClient } from './store-client.ts';

/** What a mutant replaces. */
export interface Mutation {
  readonly wrapStore?: (store: MessageStore, others: readonly SiteName[]) => MessageStore;
  readonly wrapService?: (service: PeerService, sites: readonly SiteName[]) => PeerService;
  readonly createAcceptor?: RelayDeps['createAcceptor'];
  readonly createStore?: () => MessageStore;
  readonly createMemory?: () => ClientMemory;
}

export interface SiteOptions {
  readonly manifest: Manifest;
  readonly own: SiteEntry;
  readonly ring: KeyRing;
  readonly network: Network;
  readonly relays: number;
  readonly mutation: Mutation;
  /** Whether its disk is new: it is then refilled first. */
  readonly isNew: boolean;
  readonly crashChance: () => number;
  readonly onDurable: (effects: readonly Effect[]) => void;
  readonly onWiped: () => void;
}

/** How often it is looked who can reach whom: no relay is away for less. */
export const TOUCH_EVERY_MS = 100;

export interface LiveRelay {
  readonly process: Process;
  readonly relay: RunningRelay;
}

export interface SimulatedSite {
  readonly name: SiteName;
  readonly provider: string;
  readonly disk: Disk;
  /** Relays that run now. */
  readonly live: () => readonly LiveRelay[];
  /** One of them, as a load balancer chooses. */
  readonly balance: () => LiveRelay | undefined;
  /** Kills one relay, or all; they come back after `forMs`. */
  kill(which: 'one' | 'all', forMs: number): void;
  /** Power off for `forMs`: relays and store. */
  cutPower(forMs: number): void;
  /** The storage is destroyed and comes back empty after `forMs`; the relays stay. */
  wipe(forMs: number): void;
  /** When a relay of it last ended. */
  readonly diedMs: () => number;
  /** Sets how far the wall clock of the site is off, milliseconds. */
  skew(offsetMs: number): void;
  readonly skewMs: () => number;
  readonly isOn: () => boolean;
}

/** Starts a site: its disk is empty, its relays run. */
export function createSite(stage: Stage, options: SiteOptions): SimulatedSite {
  const { own, network } = options;
  const { time, trace } = stage;
  const slots: (LiveRelay | undefined)[] = [];
  const clients = new Map<Process, StoreClient>();
  const choices = stage.random(`${own.name} balancer`);
  let offsetMs = 0;
  let offUntilMs = 0;
  let diedMs = Number.NEGATIVE_INFINITY;
  const disk = createDisk(stage, {
    site: own.name,
    random: stage.random(`${own.name} disk`),
    onDurable: options.onDurable,
    onWiped: options.onWiped,
    epoch: options.isNew
      ? undefined
      : {
          id: 'BBBBBBBBBBBBBBBBBBBBBB',
          refilledFrom: othersOf(options),
          seenMs: time.clockOf().wallMs(),
        },
    ...(options.mutation.createStore === undefined ? {} : { createStore: options.mutation.createStore }),
  });
  const live = (): readonly LiveRelay[] =>
    slots.filter((slot) => slot !== undefined).filter(({ process }) => process.isAlive());

  const balance = (): LiveRelay | undefined => {
    const running = live();
    return running[Math.floor(choices.fraction() * running.length)];
  };
  const announce = (from: Process, mailbox: MailboxTag): void => {
    // Publish and subscribe: on its way for a moment, and sometimes lost.
    time.after(between(choices, 0.05, 1), () => {
      if (choices.fraction() < 0.02) return;
      for (const [process, client] of clients) if (process !== from) client.wake(mailbox);
    });
  };
  let starts = 0;
  const start = (slot: number): void => {
    starts += 1;
    const name = options.relays === 1 ? own.name : `${own.name}/${slot + 1}`;
    const random = stage.random(`${name} life ${starts}`);
    const process = createProcess(stage, {
      name,
      clockOffsetMs: () => offsetMs,
      random: stage.random(`${name} crashes ${starts}`),
      crashChance: options.crashChance,
      onCrash: () => restartLater(slot, between(choices, TOUCH_EVERY_MS, 2000)),
    });
    const client = createStoreClient(disk, process, (mailbox) => announce(process, mailbox));
    clients.set(process, client);
    process.onDeath(() => {
      clients.delete(process);
      diedMs = time.nowMs();
    });
    const store = options.mutation.wrapStore?.(client.store, othersOf(options)) ?? client.store;
    const deps: RelayDeps = {
      store,
      clock: process.clock,
      random,
      log: logInto(stage, process),
      metrics: NO_METRICS,
      copiesNeeded: COPIES_NEEDED,
      outboxGraceMs: 1000,
      createAcceptor: options.mutation.createAcceptor ?? createAcceptor,
      connectPeer: ({ serverName }, _, timeoutMs) =>
        process.await(async () => {
          const connection = await network.connect(own.name, serverName.split('.')[1] ?? '', timeoutMs);
          process.onDeath(() => connection.destroy());
          return connection;
        }),
      createVerifier: createSimulatedVerifier,
      hasCertificate: () => true,
    };
    slots[slot] = { process, relay: runRelayParts(configOf(options), deps, new AsyncDisposableStack()) };
    trace.note(name, 'starts');
  };
  const restartLater = (slot: number, forMs: number): void => {
    time.after(forMs, () => {
      if (slots[slot]?.process.isAlive() === true || time.nowMs() < offUntilMs) return;
      start(slot);
    });
  };
  const killSlot = (slot: number, forMs: number): void => {
    slots[slot]?.process.die();
    restartLater(slot, forMs);
  };

  network.attach({
    site: own.name,
    isOn: () => time.nowMs() >= offUntilMs,
    accept: (connection, from) => {
      const target = balance();
      if (target === undefined) return false;
      serveTo(target, connection, from, options);
      return true;
    },
  });
  for (let slot = 0; slot < options.relays; slot += 1) start(slot);
  return {
    name: own.name,
    provider: own.provider,
    disk,
    live,
    balance,
    kill: (which, forMs) => {
      const all = [...slots.keys()];
      for (const slot of which === 'all' ? all : all.slice(0, 1)) killSlot(slot, forMs);
    },
    cutPower: (forMs) => {
      offUntilMs = time.nowMs() + forMs;
      for (const slot of slots.keys()) killSlot(slot, forMs + between(choices, 50, 500));
      disk.cutPower(forMs);
    },
    wipe: (forMs) => disk.wipe(forMs),
    diedMs: () => diedMs,
    skew: (ms) => {
      offsetMs = ms;
    },
    skewMs: () => offsetMs,
    isOn: () => time.nowMs() >= offUntilMs,
  };
}

function othersOf({ manifest, own }: SiteOptions): readonly SiteName[] {
  return manifest.sites.map(({ name }) => name).filter((name) => name !== own.name);
}

/** Gives a connection from another site to a relay. */
function serveTo(
  { process, relay }: LiveRelay,
  connection: Duplex,
  from: SiteName,
  options: SiteOptions,
): void {
  const real = relay.replication.service;
  const sites = options.manifest.sites.map(({ name }) => name);
  const service = options.mutation.wrapService?.(real, sites) ?? real;
  process.onDeath(() => connection.destroy());
  servePeer(connection, from, {
    events: relay.events,
    service: (request, asking) => process.await(() => service(request, asking)),
  });
}

function configOf({ manifest, own, ring }: SiteOptions): RelayConfig {
  const settings = Object.fromEntries(
    Object.entries(RELAY_SETTINGS).map(([name, setting]) => [name, setting.fallback]),
  );
  return {
    // What has no default is for doors and files, which a simulated relay has none of.
    settings: { ...settings, RELAY_SITE: own.name, RELAY_MINTING: 'open' } as RelayConfig['settings'],
    manifest,
    own,
    ring,
    certificate: { from: 'vantage', stateDir: '' },
    operatorTokenHashes: undefined,
  };
}

/** A token of the simulation: the public key as base64url, a space, and the audience. */
function createSimulatedVerifier(audience: string): MailboxTokenVerifier {
  return async (token) => {
    const [key = '', meant] = token.split(' ');
    return meant === audience ? Buffer.from(key, 'base64url') : undefined;
  };
}

function logInto({ trace }: Stage, { name, isAlive }: Process): Log {
  const line =
    (level: string) =>
    (event: string, fields: Readonly<Record<string, string | number | boolean | undefined>> = {}): void => {
      if (!isAlive()) return;
      const said = Object.entries(fields).map(([field, value]) => `${field}=${value}`);
      trace.note(name, [level, event, ...said].filter((word) => word !== '').join(' '));
    };
  return { debug: () => undefined, info: line(''), warn: line('warning:'), error: line('error:') };
}

/** Nobody scrapes a simulated relay; what happened is in the trace and with the checker. */
const NO_METRICS: Metrics = {
  counter: () => ({ add: () => undefined }),
  gauge: () => undefined,
  grid: () => undefined,
  value: () => undefined,
  histogram: () => ({ observe: () => undefined }),
  text: async () => '',
};
