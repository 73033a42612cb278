/**
 * The report of the relay's benchmark: one object for machines, the same figures as lines for people.
 */
import { type BrokerRatio, brokerLines } from './broker-report.ts';
import type { BrokerResult } from './brokers.ts';
import { type IdleResult, idleLines } from './idle.ts';
import type { Percentiles } from './percentiles.ts';
import { BODY_BYTES, type GrowthResult, type JobResult, MAILBOXES, SENDERS } from './stages.ts';

export interface BenchReport {
  /** When it was made, ISO 8601. */
  readonly at: string;
  readonly machine: {
    readonly processors: number;
    readonly model: string;
    readonly memoryBytes: number;
    readonly kernel: string;
  };
  readonly versions: { readonly node: string; readonly redis: string };
  readonly fsyncMs: Percentiles;
  readonly jobs: readonly JobResult[];
  readonly brokers: readonly BrokerResult[];
  readonly ratios: readonly BrokerRatio[];
  /** What could not be measured, as sentences. */
  readonly missing: readonly string[];
  readonly growth: readonly GrowthResult[];
  readonly idle: IdleResult | undefined;
}

const COLUMNS = ['messages/s', 'of floor', 'accept p50/p99 ms', 'deliver p50/p99 ms', 'repeats', 'refused'];

/** Messages that were accepted, delivered and acked, a second. */
export function throughputOf(job: JobResult): number {
  return Math.min(job.accepted, job.delivered, job.acked);
}

export function printReport({
  machine,
  versions,
  fsyncMs,
  jobs,
  brokers,
  missing,
  growth,
  idle,
}: BenchReport): readonly string[] {
  const lines = [
    `${machine.processors} processors (${machine.model}), ${Math.round(machine.memoryBytes / 2 ** 30)} GiB, Linux ${machine.kernel}; Node ${versions.node}, Redis ${versions.redis}`,
    `fsync of 1 KiB: p50 ${ms(fsyncMs.p50)} ms, p99 ${ms(fsyncMs.p99)} ms; every Redis fsyncs every write`,
  ];
  if (jobs.length > 0) {
    lines.push(
      '',
      `${SENDERS} senders, ${MAILBOXES} mailboxes, ${BODY_BYTES} bytes: accepted, delivered and acked`,
      row('', COLUMNS),
      ...jobs.map(jobRow),
      '',
      row('processors used by', [
        'load',
        'relays',
        'redis',
        'whole machine',
        'relays us/message',
        'commands/message',
        'drained/message',
      ]),
      ...jobs.map((job) => processorsRow(job, machine.processors)),
    );
  }
  lines.push(...brokerLines(jobs, brokers, missing));
  if (growth.length > 0) {
    lines.push('', row('messages stored', ['accepted/s', 'accept p50 ms', 'accept p99 ms']));
    for (const { stored, accepted, acceptP50Ms, acceptP99Ms } of growth) {
      lines.push(row(String(stored), [accepted.toFixed(0), ms(acceptP50Ms), ms(acceptP99Ms)]));
    }
  }
  if (idle !== undefined) lines.push(...idleLines(idle));
  return lines;
}

function jobRow(job: JobResult): string {
  const refused = Object.values(job.refusals).reduce((sum, count) => sum + count, 0);
  return row(job.mode, [
    throughputOf(job).toFixed(0),
    (throughputOf(job) / job.floor).toFixed(3),
    `${ms(job.acceptMs.p50)} / ${ms(job.acceptMs.p99)}`,
    `${ms(job.deliverMs.p50)} / ${ms(job.deliverMs.p99)}`,
    String(job.repeats),
    String(refused),
  ]);
}

function processorsRow(job: JobResult, processors: number): string {
  const { load, relays, redis, machine } = job.cpus;
  return row(job.mode, [
    `${load.toFixed(2)} (${((100 * load) / processors).toFixed(0)} % of all)`,
    ...[relays, redis, machine].map((used) => used.toFixed(2)),
    ((relays * 1e6) / throughputOf(job)).toFixed(0),
    job.redisCommandsEach.toFixed(1),
    job.drainedEach.toFixed(3),
  ]);
}

function row(name: string, cells: readonly string[]): string {
  return [name.padEnd(18), ...cells.map((cell) => cell.padStart(19))].join('');
}

function ms(value: number): string {
  return value.toFixed(value < 10 ? 2 : 1);
}
