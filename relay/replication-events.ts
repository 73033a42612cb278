/**
 * What is worth telling of the replication between sites: each event with its metric, and a log line where a person
 * would want one.
 */
import type { Log } from '../system/log.ts';
import type { Metrics } from '../system/metrics.ts';
import type { Compared } from './replication/comparison.ts';

type RecoveryCause = 'no_memory' | 'away';
const RECOVERY_CAUSES: readonly RecoveryCause[] = ['no_memory', 'away'];

export interface ReplicationEvents {
  /** What was owed is at no site any more that could be asked: it expired, or was damaged everywhere. */
  owedNowhere(count: number): void;
  /** Entries that an outbox had no room for; the comparison of sites has to find them. */
  outboxFull(count: number): void;
  compared(figures: Compared): void;
  comparisonFailed(): void;
  /** Records that were read to see whether they are whole. */
  verified(count: number): void;
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
  const recoveries = metrics.counter('recoveries_total', 'Refills begun', 'cause', RECOVERY_CAUSES);
  const restored = metrics.histogram(
    'restored_seconds',
    'From finding the store without memory, or the site back, until it was whole',
    [0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600],
  );
  return {
    owedNowhere: (count) => outbox.add('nowhere', count),
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
