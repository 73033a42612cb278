/**
 * A vantage: the health checker beside a nameserver, and that nameserver, introduced to each other.
 *
 *   probes → judgement ⇄ votes of the other vantages
 *               ↓
 *        compiled zone → DNS server; state file; status
 *
 * Nothing here needs a cloud, a database or a leader: while this process runs, it answers. The policy is an
 * argument, so that a drill can be shown to fail with one that never withdraws.
 */
import { type Clock, systemClock } from '../system/clock.ts';
import { runUntilStopped } from '../system/lifecycle.ts';
import { createLog, type Log, writeToStdout } from '../system/log.ts';
import { createMetrics, type Metrics } from '../system/metrics.ts';
import { type Random, systemRandom } from '../system/random.ts';
import { everyPeriod } from './adapters/schedule.ts';
import { createStateFile, readState, writeState } from './adapters/state-file.ts';
import { startStatusServer } from './adapters/status-server.ts';
import { startVoteReceiver } from './adapters/vote-receiver.ts';
import { createVoteSender } from './adapters/vote-sender.ts';
import { beginningFrom, beginToAnswer, savedFrom } from './cold-start.ts';
import { readVantageConfig, type VantageConfig } from './config.ts';
import type { Answer, Choose } from './core/failover.ts';
import { openVote, signVote, voteKeysOf } from './core/vote.ts';
import { zoneFrom } from './core/zone.ts';
import { createEvents, type Events } from './events.ts';
import { createJudgement, type Judgement, sitesIn } from './judgement.ts';
import { startNameserver } from './nameserver.ts';
import { startProbing } from './probing.ts';

interface VantageDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  /** `choose` of `core/failover.ts` everywhere but in drills that prove themselves. */
  readonly choose: Choose;
}

interface VantageOptions {
  readonly resources: AsyncDisposableStack;
  readonly stopped: AbortSignal;
}

/** The state is saved at every change of the answer, and this often, so that its age tells how long we were away. */
const SAVE_EVERY_MS = 60_000;
const STOP_WITHIN_MS = 5000;
const EXIT_USAGE = 64;

/**
 * Starts everything, and resolves once DNS queries are answered with addresses. Rejects with a ListenError when a
 * port is taken.
 */
async function startVantage(
  config: VantageConfig,
  deps: VantageDeps,
  { resources, stopped }: VantageOptions,
): Promise<void> {
  const { manifest } = config;
  const { clock, random } = deps;
  const events = createEvents(deps.log, deps.metrics, clock);

  const saved = await readState(config.stateDir);
  if (!saved.ok) events.stateFault(saved.fault);
  const beginning = beginningFrom(saved.ok ? saved.value : undefined, manifest, clock);
  // Before the first vote: a boot epoch that is not on disk could be used twice.
  await writeState(config.stateDir, beginning.toSave);
  const stateFile = createStateFile(config.stateDir, () => events.stateFault('unwritable'));
  resources.defer(async () => stateFile.settled());

  const nameserver = await startNameserver(config, { clock, random, events, resources });
  let inForce: Answer | undefined;
  const save = (): void => {
    if (inForce !== undefined) stateFile.save(savedFrom(inForce, beginning.bootEpoch, clock));
  };
  const serve = (answer: Answer, ttlSeconds: number): void => {
    nameserver.publish(zoneFrom({ manifest, self: config.site, answer, ttlSeconds }));
    const isNew = answer !== inForce;
    inForce = answer;
    if (isNew) save();
  };

  let publish: (() => void) | undefined;
  const judgement = createJudgement({
    manifest,
    self: config.site,
    choose: deps.choose,
    clock,
    events,
    serve,
    stanceChanged: () => publish?.(),
  });

  const status = await startStatusServer(config.privateListen, {
    ready: () => nameserver.isReady(),
    status: () => statusOf(config, judgement),
    metricsText: async () => deps.metrics.text(),
  });
  resources.defer(async () => status.close());

  publish = await joinVantages(config, clock, judgement, events, beginning.bootEpoch, resources);
  const schedule = { clock, random };
  resources.defer(everyPeriod(SAVE_EVERY_MS, save, schedule));
  resources.defer(everyPeriod(manifest.health.probeIntervalMs / 2, () => publish?.(), schedule));
  resources.defer(everyPeriod(manifest.health.probeIntervalMs / 4, () => judgement.evaluate(), schedule));
  startProbing(config, deps, judgement, events, resources);
  await beginToAnswer(judgement, beginning, { manifest, self: config.site, clock, stopped });
  deps.log.info('serving', { zone: manifest.zone, manifestVersion: manifest.version });
}

/** Receives the others' votes, and gives the function that dates, signs and sends the own one. */
async function joinVantages(
  config: VantageConfig,
  clock: Clock,
  judgement: Judgement,
  events: Events,
  bootEpoch: number,
  resources: AsyncDisposableStack,
): Promise<() => void> {
  const { manifest, identity, site } = config;
  const keys = await voteKeysOf(manifest);
  const receiver = await startVoteReceiver({
    manifest,
    endpoint: config.voteListen,
    identity,
    receive: async (signed, sender) => {
      const vote = await openVote(signed, sender, keys);
      const taken = vote.ok ? judgement.receive(vote.value) : vote;
      if (taken.ok) events.voteTaken();
      else events.voteRefused(taken.fault, sender);
      return taken;
    },
    refused: (reason) => events.voteRefused(reason, undefined),
  });
  resources.defer(async () => receiver.close());

  const sender = createVoteSender({
    manifest,
    self: site,
    identity,
    clock,
    posted: (peer, outcome) => events.votePosted(peer, outcome),
  });
  resources.defer(() => sender.close());

  let sequence = 0;
  let isSigning = false;
  let isOutdated = false;
  const publish = async (): Promise<void> => {
    isOutdated = true;
    if (isSigning) return;
    isSigning = true;
    while (isOutdated) {
      isOutdated = false;
      sequence += 1;
      sender.send(await signVote({ ...judgement.stance(), bootEpoch, sequence }, config.voteKey));
    }
    isSigning = false;
  };
  return () => void publish();
}

/** What `/status` shows; field names are a promise to drills. */
function statusOf(config: VantageConfig, judgement: Judgement): object {
  const { answer, ttlSeconds, isolated, sites } = judgement.view();
  return {
    site: config.site,
    generation: answer?.generation ?? 0,
    answer:
      answer === undefined
        ? null
        : {
            sites: sitesIn(answer),
            targets: answer.targets,
            ttlSeconds,
            failOpen: answer.failOpen.length > 0,
          },
    isolated,
    sites,
  };
}

/** The whole life of a vantage process: settings, start, stop. Faults in the settings end it with code 64. */
export async function runVantage(
  environment: Readonly<Record<string, string | undefined>>,
  choose: Choose,
): Promise<void> {
  const config = await readVantageConfig(environment);
  if (!config.ok) {
    process.stderr.write(config.fault.map((fault) => `${fault}\n`).join(''));
    process.exitCode = EXIT_USAGE;
    return;
  }
  const { site, logLevel, stopWithStdin } = config.value;
  const clock = systemClock;
  const log = createLog({ clock, base: { service: 'vantage', site }, level: logLevel, write: writeToStdout });
  const deps = { clock, random: systemRandom, log, metrics: createMetrics('vantage_'), choose };
  await runUntilStopped(
    async (resources, stopped) => startVantage(config.value, deps, { resources, stopped }),
    { log, clock, stopWithinMs: STOP_WITHIN_MS, stopWhenStdinEnds: stopWithStdin },
  );
}
