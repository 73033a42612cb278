/**
 * A drill: a real fleet on this machine under real traffic loses one provider and gets it back, and what its clients
 * saw is measured.
 *
 * Time zero is the moment at which the fault is proved, not the one at which it was asked for. Nobody helps: during
 * the fault the drill only watches. It removes everything it made, however it ends.
 */
import type { Clock } from '../../system/clock.ts';
import type { Random } from '../../system/random.ts';
import { createFleet, LOCAL_SITES, type LocalFleet, type LocalSiteName } from '../local/fleet.ts';
import { redisVersion } from '../local/redis.ts';
import type { Programs, StoreKind } from '../local/site.ts';
import type { Population } from './client-plan.ts';
import { type CrewOptions, ledgerPath, makeCast, startCrew } from './clients.ts';
import { type Assessment, assess, type Evidence, type Fault, type Result } from './figures.ts';
import { describeHost, type Host } from './host.ts';
import { type LedgerEntry, readLedger } from './ledger.ts';
import {
  bringBack,
  causeFault,
  DrillAborted,
  drain,
  proveBaseline,
  readLate,
  type Stage,
  sitOutFault,
  watchFleet,
  windowOf,
} from './phases.ts';
import type { ReportHead } from './report.ts';
import { parseVantageLine, type VantageEvent } from './vantage-events.ts';

export interface DrillOptions {
  readonly site: LocalSiteName;
  readonly fault: Fault;
  readonly store: StoreKind;
  /** Sends per second, of all senders together. */
  readonly ratePerSecond: number;
  /** How long the fault lasts. */
  readonly faultSeconds: number;
  readonly relayPort?: number;
  /** Programs that run in the place of ours, so that a test can see a faulty one turn the drill red. */
  readonly programs?: Partial<Programs>;
  readonly clock: Clock;
  readonly random: Random;
  /** Called with each line of progress. */
  readonly say: (line: string) => void;
  /** Stops the drill at once. */
  readonly signal: AbortSignal;
}

/** `aborted`: interrupted, or the fleet did not come up. `not restored`: the site did not come back. */
export type DrillResult = Result | 'aborted' | 'not restored';

export interface DrillOutcome {
  readonly result: DrillResult;
  /** Why, when the drill was aborted; otherwise ''. */
  readonly trouble: string;
  readonly head: ReportHead | undefined;
  readonly assessment: Assessment | undefined;
  readonly evidence: Evidence | undefined;
}

/** The exit code of the command for each result. 64, wrong usage, is the command's own. */
export const EXIT_CODES: Readonly<Record<DrillResult, number>> = {
  met: 0,
  missed: 1,
  unknown: 2,
  aborted: 3,
  'not restored': 5,
};

const SENDERS_PER_POPULATION = 6;
const MAILBOXES_PER_POPULATION = 6;
const PAYLOAD_BYTES = 1024;

/** Runs one drill. Rejects only for a bug; everything that can happen is an outcome. */
export async function runDrill(options: DrillOptions): Promise<DrillOutcome> {
  const { clock } = options;
  const beganMs = clock.monotonicMs();
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const vantageEvents: VantageEvent[] = [];
  let fleet: LocalFleet | undefined;
  const say = (line: string): void =>
    options.say(`${((clock.monotonicMs() - beganMs) / 1000).toFixed(1).padStart(6)} s  ${line}`);
  try {
    fleet = await createFleet({
      store: options.store,
      relayPort: options.relayPort,
      programs: options.programs ?? {},
      clock,
      random: options.random,
      onUnexpectedEnd: (what) => stop.abort(new DrillAborted(what)),
      onVantageLine: (line) => {
        const event = parseVantageLine(line);
        if (event !== undefined) vantageEvents.push(event);
      },
    });
    return await drillWith(fleet, vantageEvents, { ...options, signal, say }, beganMs);
  } catch (error) {
    const cause: unknown = signal.aborted ? signal.reason : error;
    const trouble = cause instanceof Error ? cause.message : String(cause);
    return { result: 'aborted', trouble, head: undefined, assessment: undefined, evidence: undefined };
  } finally {
    await fleet?.[Symbol.asyncDispose]();
  }
}

async function drillWith(
  fleet: LocalFleet,
  vantageEvents: readonly VantageEvent[],
  options: DrillOptions,
  drillBeganMs: number,
): Promise<DrillOutcome> {
  const { clock, random, say, signal } = options;
  const host = describeHost(fleet.directory, redisVersion(), clock);
  say(`starting ${LOCAL_SITES.join(', ')} (store ${options.store})`);
  await fleet.start(signal);
  const watch = watchFleet(fleet, clock, random);
  try {
    const runId = Buffer.from(random.bytes(6)).toString('hex');
    const crewOptions: CrewOptions = {
      fleet,
      cast: await makeCast(fleet, MAILBOXES_PER_POPULATION, clock, random),
      runId,
      seed: Math.floor(random.fraction() * 2 ** 32),
      senders: SENDERS_PER_POPULATION,
      intervalMs: (2 * SENDERS_PER_POPULATION * 1000) / options.ratePerSecond,
      payloadBytes: PAYLOAD_BYTES,
    };
    const stage: Stage = {
      ...options,
      fleet,
      watch,
      dns: startCrew('dns', crewOptions),
      failover: startCrew('failover', crewOptions),
    };
    say('warming up');
    await proveBaseline(stage);
    say('the fleet is well');
    const fault = await causeFault(stage);
    const { twoCopiesMs } = await sitOutFault(stage, fault.beganMs);
    const { returnedMs, ...back } = await bringBack(stage);
    await drain(stage);
    const lateReadersFinished = await readLate(stage, crewOptions);
    const evidence: Evidence = {
      fault: options.fault,
      site: options.site,
      sites: LOCAL_SITES,
      runId,
      payloadBytes: PAYLOAD_BYTES,
      window: windowOf(fault.beganMs, returnedMs),
      provedMs: fault.provedMs,
      vantageEvents,
      answers: watch.changes,
      ledgers: readLedgers(fleet),
      recovery: { twoCopiesMs, ...back },
      lateReadersFinished,
    };
    return conclude(
      evidence,
      headOf(options, crewOptions, host, (clock.monotonicMs() - drillBeganMs) / 1000),
    );
  } finally {
    await watch[Symbol.asyncDispose]();
  }
}

function conclude(evidence: Evidence, head: ReportHead): DrillOutcome {
  const assessment = assess(evidence);
  const { siteReadyMs, inEveryAnswerMs } = evidence.recovery;
  const restored = evidence.fault === 'none' || (siteReadyMs !== undefined && inEveryAnswerMs !== undefined);
  return {
    result: restored ? assessment.result : 'not restored',
    trouble: '',
    head,
    assessment,
    evidence,
  };
}

function headOf(options: DrillOptions, crew: CrewOptions, host: Host, tookSeconds: number): ReportHead {
  const { site, fault, store, ratePerSecond, faultSeconds } = options;
  const { runId, seed } = crew;
  return { site, fault, store, ratePerSecond, faultSeconds, tookSeconds, runId, seed, host };
}

function readLedgers(fleet: LocalFleet): Readonly<Record<Population, readonly LedgerEntry[]>> {
  const read = (population: Population): readonly LedgerEntry[] => readLedger(ledgerPath(fleet, population));
  return { dns: read('dns'), failover: read('failover'), late: read('late') };
}
