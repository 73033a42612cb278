/**
 * The drill's side of its clients: makes their mailboxes, starts a process for each population, and reads what they
 * say about their progress.
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createMailbox, type Mailbox } from '../../client/mailbox.ts';
import { createNodeTransport } from '../../client/node-transport.ts';
import { createSubscription, type Subscription } from '../../client/push-url.ts';
import type { Clock } from '../../system/clock.ts';
import type { Random } from '../../system/random.ts';
import type { LocalFleet } from '../local/fleet.ts';
import type { RunningProcess } from '../local/processes.ts';
import { canonicalOrigin, siteOrigin } from '../manifest/manifest.ts';
import {
  type ClientCommand,
  type ClientPlan,
  type ClientProgress,
  NO_PROGRESS,
  type PlannedAddressee,
  type PlannedMailbox,
  type PlannedSite,
  type Population,
  type Readers,
} from './client-plan.ts';

export interface ClientCrew {
  readonly ledger: string;
  readonly process: RunningProcess;
  /** How many recipients it has. */
  readonly recipients: number;
  progress(): ClientProgress;
  command(command: ClientCommand): void;
}

export interface Cast {
  /** Every mailbox of the drill, as senders know it. */
  readonly addressees: readonly PlannedAddressee[];
  readonly mailboxes: Readonly<Record<Readers, readonly PlannedMailbox[]>>;
}

export interface CrewOptions {
  readonly fleet: LocalFleet;
  readonly cast: Cast;
  readonly runId: string;
  readonly seed: number;
  readonly senders: number;
  readonly intervalMs: number;
  readonly payloadBytes: number;
}

const PROGRAM = fileURLToPath(new URL('client-process.ts', import.meta.url));
const MINT_TIMEOUT_MS = 5000;

/** Makes `perPopulation` mailboxes for each population that reads during the run, and a late one for each site. */
export async function makeCast(
  fleet: LocalFleet,
  perPopulation: number,
  clock: Clock,
  random: Random,
): Promise<Cast> {
  const mint = createMint(fleet, clock);
  const addressees: PlannedAddressee[] = [];
  const make = async (label: string, through: string): Promise<PlannedMailbox> => {
    const mailbox = await createMailbox(random);
    addressees.push({ label, subscription: await mint.subscribe(mailbox), isRead: through === '' });
    return { label, mailbox: await mailbox.export(), through };
  };
  const names = Array.from({ length: perPopulation }, (_, index) => index + 1);
  try {
    const dns = await Promise.all(names.map((name) => make(`dns-mailbox-${name}`, '')));
    const failover = await Promise.all(names.map((name) => make(`failover-mailbox-${name}`, '')));
    const late = await Promise.all(plannedSites(fleet).map(({ name }) => make(`late-mailbox-${name}`, name)));
    return { addressees, mailboxes: { dns, failover, late } };
  } finally {
    mint.close();
  }
}

/** Makes `count` mailboxes that nobody will ever read. */
export async function makeUnread(
  fleet: LocalFleet,
  count: number,
  clock: Clock,
  random: Random,
): Promise<readonly PlannedAddressee[]> {
  const mint = createMint(fleet, clock);
  try {
    const names = Array.from({ length: count }, (_, index) => `unread-mailbox-${index + 1}`);
    return await Promise.all(
      names.map(async (label) => {
        const subscription = await mint.subscribe(await createMailbox(random));
        return { label, subscription, isRead: false };
      }),
    );
  } finally {
    mint.close();
  }
}

interface Mint {
  subscribe(mailbox: Mailbox): Promise<Subscription>;
  close(): void;
}

/** Has push URLs minted, by the first site. */
function createMint(fleet: LocalFleet, clock: Clock): Mint {
  const { manifest, authorityPem } = fleet.identities;
  const sites = plannedSites(fleet);
  const transport = createNodeTransport({
    clock,
    ca: authorityPem,
    connectTimeoutMs: MINT_TIMEOUT_MS,
    keepAlive: true,
    lookup: async (name) => {
      const site = sites.find(({ origin }) => new URL(origin).hostname === name);
      return await Promise.resolve(site === undefined ? [] : [site.address]);
    },
  });
  return {
    subscribe: async (mailbox) =>
      await createSubscription(mailbox, {
        transport,
        clock,
        siteOrigin: siteOrigin(manifest, fleet.sites[0]?.layout.name ?? ''),
        timeoutMs: MINT_TIMEOUT_MS,
      }),
    close: () => transport.close(),
  };
}

/** Starts the process of one population; its recipients connect at once, its senders wait for `start`. */
export function startCrew(population: Population, options: CrewOptions): ClientCrew {
  const { fleet, cast } = options;
  const { manifest, authorityPem } = fleet.identities;
  const ledger = ledgerPath(fleet, population);
  let latest = NO_PROGRESS;
  const running = fleet.processes.start({
    name: `clients-${population}`,
    command: process.execPath,
    parameters: [PROGRAM],
    environment: {},
    onLine: (line) => {
      latest = JSON.parse(line) as ClientProgress;
    },
  });
  const plan: ClientPlan = {
    runId: options.runId,
    population,
    seed: options.seed,
    ledger,
    authorityPem,
    canonicalOrigin: canonicalOrigin(manifest),
    zone: manifest.zone,
    nameservers: fleet.sites.map(({ layout }) => ({ address: layout.vantageAddress, port: fleet.ports.dns })),
    sites: plannedSites(fleet),
    mailboxes: population === 'surge' || population === 'fill' ? [] : cast.mailboxes[population],
    addressees: cast.addressees,
    senders: options.senders,
    intervalMs: options.intervalMs,
    payloadBytes: options.payloadBytes,
  };
  running.send(JSON.stringify(plan));
  return {
    ledger,
    process: running,
    recipients: plan.mailboxes.length,
    progress: () => latest,
    command: (command) => {
      if (command === 'finish') running.expectEnd();
      running.send(command);
    },
  };
}

/** Where the clients of a population write what they did. */
export function ledgerPath(fleet: LocalFleet, population: Population): string {
  return join(fleet.directory, `ledger-${population}.jsonl`);
}

function plannedSites(fleet: LocalFleet): readonly PlannedSite[] {
  const { manifest } = fleet.identities;
  return fleet.sites.map(({ layout }) => ({
    name: layout.name,
    origin: siteOrigin(manifest, layout.name),
    address: layout.relayAddress,
  }));
}
