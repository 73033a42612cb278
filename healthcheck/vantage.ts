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
import { DECISION_FILE_BYTES_MAX, openDecisionFile } from './adapters/decision-file.ts';
import { everyPeriod } from './adapters/schedule.ts';
import { createStateFile, readState, writeState } from './adapters/state-file.ts';
import { startStatusServer } from './adapters/status-server.ts';
import { beginningFrom, beginToAnswer, savedFrom } from './cold-start.ts';
import { readVantageConfig, type VantageConfig } from './config.ts';
import { RULES } from './core/decision.ts';
import { entryFor } from './core/decision-log.ts';
import type { Answer, Choose } from './core/failover.ts';
import type { ChallengeRecords } from './core/zone.ts';
import { createEvents, type Events } from './events.ts';
import { registerGauges } from './gauges.ts';
import { createJudgement, type JudgementOptions, type Served } from './judgement.ts';
import { joinFleet, type Membership } from './membership.ts';
import { startNameserver } from './nameserver.ts';
import { statusOf } from './status.ts';

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
  events.manifestAdopted(manifest.version);

  const saved = await readState(config.stateDir);
  if (!saved.ok) events.stateFault(saved.fault);
  const beginning = beginningFrom(saved.ok ? saved.value : undefined, manifest, clock);
  const { bootEpoch } = beginning;
  // Before the first vote: a boot epoch that is not on disk could be used twice.
  await writeState(config.stateDir, beginning.toSave);
  const stateFile = createStateFile(config.stateDir, () => events.stateFault('unwritable'));
  resources.defer(async () => stateFile.settled());

  const nameserver =
    config.dnsListen === undefined
      ? undefined
      : await startNameserver(config, config.dnsListen, { clock, random, events, resources });
  let inForce: Answer | undefined;
  const save = (): void => {
    if (inForce !== undefined) stateFile.save(savedFrom(inForce, bootEpoch, clock));
  };
  const serve = (served: Served): void => {
    nameserver?.publish(served);
    const isNew = served.answer !== inForce;
    inForce = served.answer;
    if (isNew) save();
  };

  const decisions = await openDecisions(config, deps, events, resources);
  let membership: Membership | undefined;
  const judgement = createJudgement({
    manifest,
    self: config.site,
    rules: { ...RULES, choose: deps.choose },
    clock,
    events,
    serve,
    stanceChanged: () => membership?.publish(),
    decided: decisions.decided,
  });

  registerGauges(deps.metrics, judgement, clock);
  const status = await startStatusServer(config.privateListen, {
    ready: () => nameserver?.isReady() ?? inForce !== undefined,
    status: () =>
      statusOf(judgement.state(), judgement.stance(), { nowMs: clock.monotonicMs(), wallMs: clock.wallMs() }),
    metricsText: async () => deps.metrics.text(),
    publishChallenges: async (text) => membership?.publishChallenges(text),
  });
  resources.defer(async () => status.close());

  const { adopting } = decisions;
  const challengesChanged = (records: readonly ChallengeRecords[]): void =>
    nameserver?.setChallenges(records);
  membership = await joinFleet(
    { config, clock, random, judgement, events, bootEpoch, adopting, challengesChanged },
    resources,
  );
  resources.defer(onHangUp(() => void membership?.reload()));
  resources.defer(everyPeriod(SAVE_EVERY_MS, save, { clock, random }));
  await beginToAnswer(judgement, beginning, { manifest, self: config.site, clock, stopped });
  deps.log.info('serving', { zone: manifest.zone, manifestVersion: manifest.version });
}

interface Decisions {
  readonly adopting: (signed: string) => void;
  readonly decided: JudgementOptions['decided'];
}

/** The decision log, which begins with the manifest that this process starts with. */
async function openDecisions(
  config: VantageConfig,
  { clock }: Pick<VantageDeps, 'clock'>,
  events: Events,
  resources: AsyncDisposableStack,
): Promise<Decisions> {
  const file = await openDecisionFile({
    directory: config.stateDir,
    fileBytesMax: DECISION_FILE_BYTES_MAX,
    faulted: (fault) => events.stateFault(fault),
  });
  resources.defer(async () => file.settled());
  const adopting = (signed: string): void =>
    file.append({ kind: 'manifest', signed, key: config.manifestKey }, clock.wallMs());
  adopting(config.signedManifest.trim());
  return {
    adopting,
    decided: ({ circumstances, signedVotes, ...change }) =>
      file.append(entryFor(change, circumstances, signedVotes), circumstances.wallMs),
  };
}

/** SIGHUP: read the manifest again. */
function onHangUp(reload: () => void): () => void {
  process.on('SIGHUP', reload);
  return () => void process.off('SIGHUP', reload);
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
