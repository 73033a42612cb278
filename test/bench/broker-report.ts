/**
 * The figures of other people's brokers as lines for people: what they did, and what the relay did of it. Brokers with one
 * copy are compared with the relay with one, those with three with the relay as shipped; the two are never mixed.
 */
import type { BrokerResult } from './brokers.ts';
import type { JobResult } from './stages.ts';

export interface BrokerRatio {
  readonly mode: JobResult['mode'];
  readonly broker: string;
  /** Messages a second of the relay as a part of the broker's. */
  readonly rate: number;
  /** CPU time of the relay's servers for a message as a part of the broker's; below 1 the relay is cheaper. */
  readonly serverCpu: number;
}

/** What is accepted, delivered and acked. */
interface Rates {
  readonly accepted: number;
  readonly delivered: number;
  readonly acked: number;
}

function throughputOf({ accepted, delivered, acked }: Rates): number {
  return Math.min(accepted, delivered, acked);
}

export function nameOf({ broker, copies, fsync, transport }: BrokerResult): string {
  return `${broker} R${copies} ${transport}, fsync ${fsync}`;
}

/** Each job beside each broker that keeps as many copies. */
export function ratiosOf(
  jobs: readonly JobResult[],
  brokers: readonly BrokerResult[],
): readonly BrokerRatio[] {
  return jobs.flatMap((job) =>
    brokers
      .filter(({ copies }) => copies === (job.mode === 'three_sites' ? 3 : 1))
      .map((broker) => {
        const ours = (job.cpus.relays + job.cpus.redis) / throughputOf(job);
        const theirs = broker.cpus.servers / throughputOf(broker);
        return {
          mode: job.mode,
          broker: nameOf(broker),
          rate: throughputOf(job) / throughputOf(broker),
          serverCpu: ours / theirs,
        };
      }),
  );
}

const COLUMNS = ['messages/s', 'accept p50/p99 ms', 'deliver p50/p99 ms', 'servers us', 'load us', 'repeats'];

/** Nothing when no broker was asked for. */
export function brokerLines(
  jobs: readonly JobResult[],
  brokers: readonly BrokerResult[],
  missing: readonly string[],
): readonly string[] {
  if (brokers.length === 0) return missing.length === 0 ? [] : ['', ...missing];
  return [
    '',
    `the same job at other brokers (${[...new Set(brokers.map(({ broker, version }) => `${broker} ${version}`))].join(', ')}); us are of CPU for a message`,
    row('', COLUMNS),
    ...brokers.map((one) =>
      row(nameOf(one), [
        throughputOf(one).toFixed(0),
        `${ms(one.acceptMs.p50)} / ${ms(one.acceptMs.p99)}`,
        `${ms(one.deliverMs.p50)} / ${ms(one.deliverMs.p99)}`,
        ((one.cpus.servers * 1e6) / throughputOf(one)).toFixed(0),
        ((one.cpus.load * 1e6) / throughputOf(one)).toFixed(0),
        String(one.repeats),
      ]),
    ),
    ...missing,
    ...ratiosOf(jobs, brokers).map(
      ({ mode, broker, rate, serverCpu }) =>
        `${mode} / ${broker}: ${rate.toFixed(2)} of its messages a second, ${serverCpu.toFixed(2)} of its servers' CPU for a message`,
    ),
  ];
}

function row(name: string, cells: readonly string[]): string {
  return [name.padEnd(40), ...cells.map((cell) => cell.padStart(19))].join('');
}

function ms(value: number): string {
  return value.toFixed(value < 10 ? 2 : 1);
}
