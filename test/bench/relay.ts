/**
 * How fast the relay is, how much an idle recipient costs it, and whether it slows down as it fills:
 * `npm run bench:relay -- [--json FILE] [--only job,peers,growth,idle] [--mode one_store,two_relays,three_sites]
 * [--peer jetstream,mosquitto] [--seconds N] [--ack-ms N] [--ack-ms-max N] [--connections N] [--million]
 * [--profile DIRECTORY] [--node ARGUMENTS]`
 *
 * `--node` gives the relays' Node further arguments, separated by spaces.
 *
 * Every figure stands beside the floor of the same machine in the same run; docs/performance.md says how to read it.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import { ACKS_BY_DEFAULT } from '../../client/acks.ts';
import { systemClock } from '../../system/clock.ts';
import { writeToStdout } from '../../system/log.ts';
import { startRedis } from '../support/redis-server.ts';
import { ratiosOf } from './broker-report.ts';
import { BROKERS, type BrokerResult, measureBrokers } from './brokers.ts';
import { infoOf, MODES } from './deployment.ts';
import { measureFsync } from './floor.ts';
import { type IdleResult, measureIdle } from './idle.ts';
import { type BenchReport, printReport } from './report.ts';
import { type GrowthResult, type JobResult, measureGrowth, measureJob } from './stages.ts';

const STAGES = ['job', 'peers', 'growth', 'idle'];

const { values } = parseArgs({
  options: {
    json: { type: 'string' },
    only: { type: 'string', default: STAGES.join(',') },
    mode: { type: 'string', default: MODES.join(',') },
    peer: { type: 'string', default: BROKERS.join(',') },
    seconds: { type: 'string', default: '8' },
    connections: { type: 'string', default: '10000' },
    'ack-ms': { type: 'string', default: String(ACKS_BY_DEFAULT.batchForMs) },
    'ack-ms-max': { type: 'string', default: String(ACKS_BY_DEFAULT.batchForMsMax) },
    million: { type: 'boolean', default: false },
    profile: { type: 'string' },
    node: { type: 'string', default: '' },
  },
});
const chosen = values.only.split(',');
const unknown = chosen.find((stage) => !STAGES.includes(stage));
if (unknown !== undefined) throw new Error(`--only: expected some of ${STAGES.join(',')}, got "${unknown}"`);
const peers = values.peer.split(',');
const unknownPeer = peers.find((peer) => !BROKERS.some((broker) => broker === peer));
if (unknownPeer !== undefined)
  throw new Error(`--peer: expected some of ${BROKERS.join(',')}, got "${unknownPeer}"`);

if (values.profile !== undefined) mkdirSync(values.profile, { recursive: true });
const nodeArguments = values.node.split(' ').filter((argument) => argument !== '');
if (values.profile !== undefined) nodeArguments.push('--cpu-prof', `--cpu-prof-dir=${values.profile}`);
const measureMs = Number(values.seconds) * 1000;
const gathering = {
  ...ACKS_BY_DEFAULT,
  batchForMs: Number(values['ack-ms']),
  batchForMsMax: Number(values['ack-ms-max']),
};

const fsyncMs = measureFsync(300);
const jobs: JobResult[] = [];
if (chosen.includes('job')) {
  for (const mode of MODES) {
    if (values.mode.split(',').includes(mode)) {
      jobs.push(
        await measureJob(
          mode,
          { warmUp: { messages: 20_000, ms: 15_000 }, measureMs, gathering },
          nodeArguments,
        ),
      );
    }
  }
}
let brokers: readonly BrokerResult[] = [];
let missing: readonly string[] = [];
if (chosen.includes('peers')) {
  const warmUp = { messages: 20_000, ms: 15_000 };
  ({ results: brokers, missing } = await measureBrokers(peers, { warmUp, measureMs }));
}
let growth: readonly GrowthResult[] = [];
if (chosen.includes('growth')) {
  const sizes = values.million ? [1e3, 1e5, 1e6] : [1e3, 1e5];
  growth = await measureGrowth(sizes, {
    warmUp: { messages: 2000, ms: 2000 },
    measureMs: Math.min(measureMs, 3000),
    gathering,
  });
}
let idle: IdleResult | undefined;
if (chosen.includes('idle')) idle = await measureIdle(Number(values.connections));

const report: BenchReport = {
  at: new Date(systemClock.wallMs()).toISOString(),
  machine: {
    processors: availableParallelism(),
    model: cpus()[0]?.model ?? 'unknown',
    memoryBytes: totalmem(),
    kernel: release(),
  },
  versions: { node: process.version, redis: await redisVersion() },
  fsyncMs,
  jobs,
  brokers,
  ratios: ratiosOf(jobs, brokers),
  missing,
  growth,
  idle,
};
for (const line of printReport(report)) writeToStdout(line);
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);

async function redisVersion(): Promise<string> {
  const server = await startRedis();
  const version = await infoOf(server, 'redis_version');
  await server.stop();
  return version;
}
