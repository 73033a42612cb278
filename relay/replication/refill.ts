/**
 * The full exchange of a site that comes back empty: it asks every other site for everything, partition by
 * partition, takes what it lacks, and only then says that it is whole.
 *
 * A store without an epoch has lost its memory (a new disk, a wiped Redis, a first start). Until the exchange with
 * enough providers is done the site is recovering: it stores new messages and counts for them, but it does not ask
 * for clients, because it could tell a recipient "you have no messages" and be wrong.
 */
import type { SiteEntry } from '../../fleet/manifest.ts';
import type { Clock } from '../../system/clock.ts';
import { describeError, type Log } from '../../system/log.ts';
import type { Random } from '../../system/random.ts';
import { canReachEnough } from '../core/copies.ts';
import { PARTITIONS, type Partition } from '../core/mailbox.ts';
import { openMessage } from '../core/message.ts';
import type { Reference } from '../core/reference.ts';
import { openTombstone } from '../core/tombstone.ts';
import type { RelayEvents } from '../events.ts';
import { type Epoch, type MessageStore, type PeerLink, PeerUnreachable } from '../ports.ts';

export interface RefillConfig {
  readonly own: SiteEntry;
  readonly copiesNeeded: number;
  readonly pepper: Uint8Array;
  readonly intervalMs: number;
}

export interface RefillDeps {
  readonly store: MessageStore;
  readonly links: readonly PeerLink[];
  readonly clock: Clock;
  readonly random: Random;
  readonly events: RelayEvents;
  readonly log: Log;
}

export interface Refill {
  /** Whether the store may lack what it once acknowledged. True until the epoch has been read. */
  readonly isRecovering: () => boolean;
  /** Watches the epoch, and refills whenever it is missing, until `stopped`. */
  readonly run: (stopped: AbortSignal) => Promise<void>;
}

const CALL_TIMEOUT_MS = 5000;
const PULL_MAX = 256;
/** Partitions exchanged at the same time. */
const LANES = 8;

/** Recovering, until `run` has found an epoch in the store or has refilled it. */
export function createRefill(config: RefillConfig, deps: RefillDeps): Refill {
  const { store, links, clock, log } = deps;
  let recovering = true;

  /** Enough providers have been asked for everything that one of them must have held the second copy. */
  const isWhole = ({ refilledFrom }: Epoch): boolean =>
    canReachEnough(
      config.own,
      links.filter(({ site }) => refilledFrom.includes(site)),
      config.copiesNeeded,
    );

  const readOrBegin = async (): Promise<Epoch> => {
    const epoch = await store.readEpoch();
    if (epoch !== undefined) return epoch;
    if (!recovering) log.warn('store lost its memory');
    recovering = true;
    const begun: Epoch = { id: Buffer.from(deps.random.bytes(16)).toString('base64url'), refilledFrom: [] };
    await store.writeEpoch(begun);
    return begun;
  };

  const step = async (): Promise<void> => {
    let epoch = await readOrBegin();
    for (const link of links) {
      if (!link.isUp() || epoch.refilledFrom.includes(link.site)) continue;
      const startedMs = clock.monotonicMs();
      const count = await refillFrom(link, config, deps);
      log.info('refilled', { from: link.site, count, tookMs: Math.round(clock.monotonicMs() - startedMs) });
      // What was refilled may have been wiped meanwhile; then this epoch is over and nothing is claimed for it.
      const current = await store.readEpoch();
      if (current?.id !== epoch.id) return;
      epoch = { id: epoch.id, refilledFrom: [...new Set([...current.refilledFrom, link.site])] };
      await store.writeEpoch(epoch);
    }
    if (recovering && isWhole(epoch)) {
      recovering = false;
      deps.events.recovered();
    }
  };

  return {
    isRecovering: () => recovering,
    run: async (stopped) => {
      while (!stopped.aborted) {
        await step().catch((error: unknown) => {
          log.debug('refill paused', { reason: describeError(error) });
        });
        await clock.sleep(config.intervalMs, stopped).catch(() => undefined);
      }
    },
  };
}

/** Takes everything that this site lacks from one other; gives how much it was. */
async function refillFrom(link: PeerLink, config: RefillConfig, deps: RefillDeps): Promise<number> {
  const partitions = [...PARTITIONS];
  let count = 0;
  const lane = async (): Promise<void> => {
    for (let partition = partitions.shift(); partition !== undefined; partition = partitions.shift()) {
      try {
        count += await refillPartition(link, partition, config, deps);
      } catch (error) {
        // The exchange has failed as a whole and will be repeated: the other lanes need not go on.
        partitions.length = 0;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return count;
}

async function refillPartition(
  link: PeerLink,
  partition: Partition,
  config: RefillConfig,
  deps: RefillDeps,
): Promise<number> {
  let cursor = '';
  let count = 0;
  do {
    const page = await link.call({ type: 'list', partition, cursor }, CALL_TIMEOUT_MS);
    if (page.type !== 'page') throw new PeerUnreachable(`list was answered by ${page.type}`);
    const lacking = await deps.store.missing(page.references);
    for (let from = 0; from < lacking.length; ) {
      from += await pull(link, lacking.slice(from, from + PULL_MAX), config, deps);
    }
    count += lacking.length;
    cursor = page.cursor;
  } while (cursor !== '');
  return count;
}

/** Pulls and stores; gives how many of the references are dealt with. */
async function pull(
  link: PeerLink,
  references: readonly Reference[],
  config: RefillConfig,
  deps: RefillDeps,
): Promise<number> {
  const reply = await link.call({ type: 'pull', references }, CALL_TIMEOUT_MS);
  if (reply.type !== 'records') throw new PeerUnreachable(`pull was answered by ${reply.type}`);
  const opened = {
    acks: reply.acks.map((record) => openTombstone(record, config.pepper)),
    messages: reply.messages.map(openMessage),
  };
  for (const result of [...opened.acks, ...opened.messages]) {
    if (!result.ok) deps.events.damaged('peer');
  }
  // Acks first, so that a message they name is not stored at all. The other site's outbox covers third parties.
  const burials = opened.acks.flatMap((result) => (result.ok ? [{ ack: result.value, owedTo: [] }] : []));
  await deps.store.bury(burials, deps.clock.wallMs());
  const insertions = opened.messages.flatMap((result) =>
    result.ok ? [{ message: result.value, owedTo: [] }] : [],
  );
  await deps.store.insert(insertions, deps.clock.wallMs());
  return Math.max(1, reply.served);
}
