/**
 * A drill: a real fleet on this machine under real traffic loses one provider and gets it back, and what its clients
 * saw is measured.
 *
 * Time zero is the moment at which the fault is proved, not the one at which it was asked for. Nobody helps: during
 * the fault the drill only watches. It removes everything it made, however it ends.
 */
import { existsSync } from 'node:fs';
import type { Clock } from '../../system/clock.ts';
import type { Random } from '../../system/random.ts';
import { createFleet, LOCAL_SITES, type LocalFleet, type LocalSiteName } from '../local/fleet.ts';
import { redisVersion } from '../local/redis.ts';
import type { Programs, StoreKind } from '../local/site.ts';
import type { Population } from './client-plan.ts';
import { type CrewOptions, ledgerPath, makeCast, startCrew } from './clients.ts';
import type { Evidence } from './evidence.ts';
import { type FaultName, faultNamed, whyImpossible } from './faults/catalogue.ts';
import { type Assessment, assess, type Result } from './figures.ts';
import { describeHost, type Host } from './host.ts';
import { type LedgerEntry, readLedger } from './ledger.ts';
import {
  causeFault,
  DrillAborted,
  drain,
  endFault,
  proveBaseline,
  readLate,
  type Stage,
  sitOutFault,
  watchFleet,
} from './phases.ts';
import type { ReportHead } from './report.ts';
import { parseVantageLine, type VantageEvent } from './vantage-events.ts';

export interface DrillOptions {
  readonly site: LocalSiteName;
  readonly fault: FaultName;
  readonly store: StoreKind;
  /** Sends per second, of all senders together. */
  readonly ratePerSecond: number;
  /** How long the fault lasts; undefined: as long as it says. */
  readonly faultSeconds?: number | undefined;
  readonly relayPort?: number;
  /** An archive of `npm run release`; undefined: the release of the working tree. */
  readonly release?: string | undefined;
  /** Programs that run in the place of ours, so that a test can see a faulty one turn the drill red. */
  readonly programs?: Partial<Programs>;
  readonly clock: Clock;
  readonly random: Random;
  /** Called with each line of progress. */
  readonly say: (line: string) => void;
  /** Stops the drill at once. */
  readonly signal: AbortSignal;
}

/**
 * `aborted`: interrupted, or the fleet did not come up. `refused`: this machine cannot cause the fault. `not restored`:
 * a site did not come back.
 */
export type DrillResult = Result | 'aborted' | 'refused' | 'not restored';

export interface DrillOutcome {
  readonly result: DrillResult;
  /** Why, when the drill was aborted or refused; otherwise ''. */
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
  refused: 4,
  'not restored': 5,
};

const SENDERS_PER_POPULATION = 6;
const MAILBOXES_PER_POPULATION = 6;
const PAYLOAD_BYTES = 1024;
/** Senders send so long, at most, beside the time of the fault. */
const AROUND_SECONDS = 160;

/** Runs one drill. Rejects only for a bug; everything that can happen is an outcome. */
export async function runDrill(options: DrillOptions): Promise<DrillOutcome> {
  const { clock } = options;
  const impossible = whyImpossible(options.fault, options.store);
  if (impossible !== '')
    return withoutRun('refused', `This machine cannot cause ${options.fault}: ${impossible}`);
  const fault = faultNamed(options.fault);
  const seconds = options.faultSeconds ?? fault.seconds;
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
      release: options.release,
      programs: options.programs ?? {},
      clock,
      random: options.random,
      separate: fault.needs.includes('namespaces'),
      settings: (...part) => ({
        ...(part[1] === 'relay' ? roomForLateMailboxes(options.ratePerSecond, seconds) : {}),
        ...fault.settings?.(...part),
      }),
      onUnexpectedEnd: (what) => stop.abort(new DrillAborted(what)),
      onVantageLine: (line) => {
        const event = parseVantageLine(line);
        if (event !== undefined) vantageEvents.push(event);
      },
    });
    return await drillWith(fleet, vantageEvents, { ...options, faultSeconds: seconds, signal, say }, beganMs);
  } catch (error) {
    const cause: unknown = signal.aborted ? signal.reason : error;
    const trouble = cause instanceof Error ? cause.message : String(cause);
    return withoutRun('aborted', trouble);
  } finally {
    await fleet?.[Symbol.asyncDispose]();
  }
}

function withoutRun(result: 'aborted' | 'refused', trouble: string): DrillOutcome {
  return { result, trouble, head: undefined, assessment: undefined, evidence: undefined };
}

/** What is sent to the mailboxes that are read at the end must not be refused for want of a reader. */
function roomForLateMailboxes(ratePerSecond: number, seconds: number): Readonly<Record<string, string>> {
  const mailboxes = 2 * MAILBOXES_PER_POPULATION + LOCAL_SITES.length;
  const messages = Math.max(256, Math.ceil((ratePerSecond / mailboxes) * (seconds + AROUND_SECONDS)));
  return {
    RELAY_UNREAD_MAILBOX_MESSAGES_MAX: String(messages),
    RELAY_UNREAD_MAILBOX_BYTES_MAX: String(messages * 4 * PAYLOAD_BYTES),
  };
}

async function drillWith(
  fleet: LocalFleet,
  vantageEvents: readonly VantageEvent[],
  options: DrillOptions & { readonly faultSeconds: number },
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
    const fault = faultNamed(options.fault);
    const stage: Stage = {
      ...options,
      fault,
      fleet,
      watch,
      dns: startCrew('dns', crewOptions),
      failover: startCrew('failover', crewOptions),
      load: [],
      crewOptions,
    };
    say('warming up');
    await proveBaseline(stage);
    say('the fleet is well');
    const caused = await causeFault(stage);
    const { twoCopiesMs } = await sitOutFault(stage, caused);
    const { endedMs, ...back } = await endFault(stage, caused);
    const recipientsConnected = await drain(stage);
    const lateReadersFinished = await readLate(stage);
    const evidence: Evidence = {
      expects: fault.expects,
      isControl: options.fault === 'none',
      site: options.site,
      sites: LOCAL_SITES,
      runId,
      payloadBytes: PAYLOAD_BYTES,
      window: { beganMs: caused.beganMs, endMs: endedMs },
      provedMs: caused.provedMs,
      vantageEvents,
      answers: watch.changes,
      ledgers: readLedgers(fleet),
      recovery: { twoCopiesMs, ...back },
      recipientsConnected,
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
  const { readyMs, inEveryAnswerMs } = evidence.recovery;
  const restored = readyMs !== undefined && inEveryAnswerMs !== undefined;
  return {
    result: restored ? assessment.result : 'not restored',
    trouble: '',
    head,
    assessment,
    evidence,
  };
}

function headOf(
  options: DrillOptions & { readonly faultSeconds: number },
  crew: CrewOptions,
  host: Host,
  tookSeconds: number,
): ReportHead {
  const { site, fault, store, ratePerSecond, faultSeconds } = options;
  const { runId, seed } = crew;
  return { site, fault, store, ratePerSecond, faultSeconds, tookSeconds, runId, seed, host };
}

function readLedgers(fleet: LocalFleet): Evidence['ledgers'] {
  const read = (population: Population): readonly LedgerEntry[] => readLedger(ledgerPath(fleet, population));
  const load = existsSync(ledgerPath(fleet, 'surge')) ? read('surge') : [];
  return { dns: read('dns'), failover: read('failover'), late: read('late'), load };
}
