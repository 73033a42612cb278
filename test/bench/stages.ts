/**
 * The parts of the relay's benchmark. Each brings up what it measures and takes it down again, so that none of them
 * measures what another left behind.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { systemClock } from '../../system/clock.ts';
import { systemRandom } from '../../system/random.ts';
import { createTestMailbox } from '../support/mailbox.ts';
import type { RedisServer } from '../support/redis-server.ts';
import { openBenchStore } from './bench-store.ts';
import { type Deployment, deploy, infoOf, type Mode, targetsOf } from './deployment.ts';
import { measureInserts } from './floor.ts';
import type { LoadConfig, LoadResult } from './load.ts';

export const BODY_BYTES = 1024;
export const SENDERS = 64;
export const MAILBOXES = 50;

export interface JobResult extends LoadResult {
  readonly mode: Mode;
  /** Plain inserts of the same size into the same Redis, a second, before and after. */
  readonly floor: number;
  /** Commands that all Redis executed during the job, polling included, for one accepted message. */
  readonly redisCommandsEach: number;
  /** Copies that went out of an outbox because the write path had not settled them in time, for one message. */
  readonly drainedEach: number;
}

export interface GrowthResult {
  readonly stored: number;
  readonly acceptP50Ms: number;
  readonly acceptP99Ms: number;
  readonly accepted: number;
}

export interface LoadOptions {
  readonly warmUp: LoadConfig['warmUp'];
  readonly measureMs: number;
  readonly gathering: LoadConfig['gathering'];
}

const FLOOR_MS = 1500;
const PRELOAD_BATCH = 128;
const PRELOAD_AT_ONCE = 8;
const PRELOAD_PER_MAILBOX = 100;
const DAY_MS = 86_400_000;
const ACKED_WITHIN_MS = 5000;

/** The job of one mode, with the floor of the same Redis right before and after it. */
export async function measureJob(
  mode: Mode,
  options: LoadOptions,
  nodeArguments: readonly string[],
): Promise<JobResult> {
  await using deployment = await deploy(mode, nodeArguments);
  const servers = serversOf(deployment);
  const floorBefore = await measureInserts(servers, BODY_BYTES, SENDERS, FLOOR_MS);
  const commandsBefore = await commandsOf(deployment);
  const result = await load(deployment, options);
  const drained = await deployment.counter('relay_messages_total{event="drained"}');
  const redisCommandsEach = ((await commandsOf(deployment)) - commandsBefore) / result.acceptedTotal;
  const floorAfter = await measureInserts(servers, BODY_BYTES, SENDERS, FLOOR_MS);
  return {
    mode,
    ...result,
    floor: (floorBefore + floorAfter) / 2,
    redisCommandsEach,
    drainedEach: drained / result.acceptedTotal,
  };
}

/** Each Redis once, whoever uses it. */
function serversOf({ sites }: Deployment): readonly RedisServer[] {
  return [...new Set(sites.map(({ redis }) => redis))];
}

async function commandsOf(deployment: Deployment): Promise<number> {
  const counts = await Promise.all(
    serversOf(deployment).map((redis) => infoOf(redis, 'total_commands_processed')),
  );
  return counts.reduce((sum, count) => sum + Number(count), 0);
}

/** How long accepting takes while more and more messages that nobody reads are stored. */
export async function measureGrowth(
  sizes: readonly number[],
  options: LoadOptions,
): Promise<readonly GrowthResult[]> {
  await using deployment = await deploy('one_store', []);
  const results: GrowthResult[] = [];
  let stored = 0;
  for (const size of sizes) {
    await preload(deployment, stored, size);
    await untilRewritten(deployment);
    stored = size;
    const { acceptMs, accepted } = await load(deployment, options);
    results.push({ stored, acceptP50Ms: acceptMs.p50, acceptP99Ms: acceptMs.p99, accepted });
  }
  return results;
}

/** Filling a Redis makes it write its file anew, with a processor of its own: that is of filling, not of being full. */
async function untilRewritten(deployment: Deployment): Promise<void> {
  for (const redis of serversOf(deployment)) {
    while ((await infoOf(redis, 'aof_rewrite_in_progress')) !== '0') await systemClock.sleep(50);
  }
}

/** Runs the load in its own process; throws when the relays did not do what they said. */
async function load(deployment: Deployment, options: LoadOptions): Promise<LoadResult> {
  const ackedBefore = await deployment.counter('relay_messages_total{event="acked"}');
  const config: LoadConfig = {
    ...options,
    targets: targetsOf(deployment),
    senders: SENDERS,
    mailboxes: MAILBOXES,
    bodyBytes: BODY_BYTES,
    relayPids: deployment.sites.map(({ relayPid }) => relayPid),
    redisPids: [...new Set(deployment.sites.map(({ redisPid }) => redisPid))],
  };
  const child = fork(join(import.meta.dirname, 'load-process.ts'), [JSON.stringify(config)]);
  const message = once(child, 'message');
  const [first]: unknown[] = await Promise.race([message, once(child, 'exit')]);
  if (typeof first !== 'object' || first === null) throw new Error('the load generator failed');
  const result = first as LoadResult;
  const ackedNow = async (): Promise<number> =>
    (await deployment.counter('relay_messages_total{event="acked"}')) - ackedBefore;
  const untilMs = systemClock.monotonicMs() + ACKED_WITHIN_MS;
  let acked = await ackedNow();
  while (acked < result.acceptedTotal && systemClock.monotonicMs() < untilMs) {
    await systemClock.sleep(50);
    acked = await ackedNow();
  }
  if (result.undelivered > 0) throw new Error(`${result.undelivered} accepted messages were not delivered`);
  if (acked < result.acceptedTotal) {
    throw new Error(`of ${result.acceptedTotal} messages the relays say that only ${acked} were acked`);
  }
  return result;
}

/** Stores messages `from` to `to` in mailboxes that nobody reads. */
async function preload(deployment: Deployment, from: number, to: number): Promise<void> {
  const [site] = deployment.sites;
  if (site === undefined) throw new RangeError('no site');
  const store = await openBenchStore(site.redis);
  const body = systemRandom.bytes(BODY_BYTES);
  const nowMs = systemClock.wallMs();
  let mailbox = createTestMailbox();
  let next = from;
  const fill = async (): Promise<void> => {
    while (next < to) {
      const insertions = [];
      for (; insertions.length < PRELOAD_BATCH && next < to; next += 1) {
        if (next % PRELOAD_PER_MAILBOX === 0) mailbox = createTestMailbox();
        const fields = { acceptedMs: nowMs, expiresMs: nowMs + DAY_MS, body };
        insertions.push({ message: mailbox.message(`stored ${next}`, fields), owedTo: [] });
      }
      await store.insert(insertions, nowMs);
    }
  };
  await Promise.all(Array.from({ length: PRELOAD_AT_ONCE }, fill));
  await store.close();
}
