/**
 * What is worth telling of the replication between sites: each event with its metric, and a log line where a person
 * would want one.
 */
import type { SiteName } from '../fleet/manifest/manifest.ts';
import type { Log } from '../system/log.ts';
import type { Metrics } from '../system/metrics.ts';
import type { Compared } from './replication/comparison.ts';

/** `late`: not enough sites answered in time. `crowd`: too many wait to be asked about. `unreachable`: enough cannot be asked. */
type BurialsAsked = 'answered' | 'late' | 'crowd' | 'unreachable';
type RecoveryCause = 'no_memory' | 'away';
/** Upper bounds of the histograms of how long it took to have all copies again. */
const RESTORE_SECONDS: readonly number[] = [0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600];
const RECOVERY_CAUSES: readonly RecoveryCause[] = ['no_memory', 'away'];

export interface ReplicationEvents {
  /** What was owed is at no site any more that could be asked: it expired, or was damaged everywhere. */
  owedNowhere(count: number): void;
  /** What was owed to a site that has left the fleet. */
  debtsDropped(site: SiteName, count: number): void;
  /** Entries that an outbox had no room for; the comparison of sites has to find them. */
  outboxFull(count: number): void;
  compared(figures: Compared): void;
  comparisonFailed(): void;
  /** Records that were read to see whether they are whole. */
  verified(count: number): void;
  /** A recipient connected and another site was asked; how many messages that brought. */
  readRepaired(count: number): void;
  /** No answer in time, or too many at once. */
  readRepairLeft(why: 'failed' | 'skipped'): void;
  /** Other sites were asked what is buried of what waits for somebody who has connected, or could not be; see docs/configuration.md. */
  burialsAsked(outcome: BurialsAsked): void;
  /** Messages that were not delivered because another site had an ack of them. */
  keptBack(count: number): void;
  /** Nothing old is owed to a site any more; for how long it was, milliseconds. */
  caughtUp(site: SiteName, ms: number): void;
  /** The own clock is off by so much, by the median of all. */
  clockOff(offsetMs: number): void;
  clockRight(): void;
  /** `no_memory`: the store is empty or was wiped; `away`: the site was not in touch for a while. */
  recovering(why: RecoveryCause): void;
  /** How long it took until the store was known to be whole. */
  recoveredIn(ms: number): void;
}

/** Registers the metrics, all at zero, and gives the functions that change them. */
export function createReplicationEvents(metrics: Metrics, log: Log): ReplicationEvents {
  const outbox = metrics.counter('outbox_total', 'Outbox entries that went another way', 'event', [
    'full',
    'nowhere',
    'site_left',
  ]);
  const comparisons = metrics.counter('comparisons_total', 'Comparisons with another site', 'result', [
    'same',
    'different',
    'partial',
    'failed',
  ]);
  const repair = metrics.counter('anti_entropy_total', 'What comparing and verifying took', 'what', [
    'slices',
    'listed',
    'taken',
    'skipped_partitions',
    'verified',
  ]);
  const readRepairs = metrics.counter('read_repair_total', 'Looks at other sites for who connects', 'event', [
    'asked',
    'messages',
    'failed',
    'skipped',
  ]);
  const burials = metrics.counter(
    'buried_elsewhere_total',
    'Questions to other sites what is acked of what waits for who connects',
    'event',
    ['answered', 'late', 'crowd', 'unreachable', 'kept_back'],
  );
  return {
    ...restoreEvents(metrics, log),
    ...clockEvents(metrics, log),
    owedNowhere: (count) => outbox.add('nowhere', count),
    debtsDropped: (site, count) => {
      outbox.add('site_left', count);
      log.info('debts dropped', { peer: site, count });
    },
    outboxFull: (count) => outbox.add('full', count),
    compared: ({ slices, listed, taken, skipped }) => {
      comparisons.add(skipped > 0 ? 'partial' : slices > 0 ? 'different' : 'same');
      repair.add('slices', slices);
      repair.add('listed', listed);
      repair.add('taken', taken);
      repair.add('skipped_partitions', skipped);
      if (taken > 0) log.warn('took what was lacking', { slices, listed, taken });
    },
    comparisonFailed: () => comparisons.add('failed'),
    verified: (count) => repair.add('verified', count),
    readRepaired: (count) => {
      readRepairs.add('asked');
      readRepairs.add('messages', count);
    },
    readRepairLeft: (why) => readRepairs.add(why),
    burialsAsked: (outcome) => burials.add(outcome),
    keptBack: (count) => burials.add('kept_back', count),
  };
}

function restoreEvents(
  metrics: Metrics,
  log: Log,
): Pick<ReplicationEvents, 'caughtUp' | 'recovering' | 'recoveredIn'> {
  const recoveries = metrics.counter('recoveries_total', 'Refills begun', 'cause', RECOVERY_CAUSES);
  const caughtUp = metrics.histogram(
    'caught_up_seconds',
    'From the first thing that a site lacked until nothing old was owed to it',
    RESTORE_SECONDS,
  );
  const restored = metrics.histogram(
    'restored_seconds',
    'From finding the store without memory, or the site back, until it was whole',
    RESTORE_SECONDS,
  );
  return {
    caughtUp: (site, ms) => {
      caughtUp.observe(ms / 1000);
      log.info('caught up', { peer: site, tookMs: ms });
    },
    recovering: (why) => {
      recoveries.add(why);
      log.warn(why === 'away' ? 'this site was away' : 'the store has no memory');
    },
    recoveredIn: (ms) => {
      restored.observe(ms / 1000);
      log.info('whole again', { tookMs: Math.round(ms) });
    },
  };
}

function clockEvents(metrics: Metrics, log: Log): Pick<ReplicationEvents, 'clockOff' | 'clockRight'> {
  const clock = metrics.counter('clock_total', 'Times the own clock was found off, or right again', 'event', [
    'off',
    'right',
  ]);
  return {
    clockOff: (offsetMs) => {
      clock.add('off');
      log.warn('the clock of this machine is off', { offsetMs });
    },
    clockRight: () => {
      clock.add('right');
      log.info('the clock of this machine is right again');
    },
  };
}
