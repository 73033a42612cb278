/**
 * The phases of a drill, in the order in which they happen. Each watches real things and waits for a condition with a
 * deadline; none judges. What cannot be reached in time before the fault aborts the drill, afterwards it is evidence.
 */
import type { Clock } from '../../system/clock.ts';
import type { Random } from '../../system/random.ts';
import type { LocalFleet, LocalSiteName } from '../local/fleet.ts';
import type { LocalSite } from '../local/site.ts';
import { departuresSince } from './answer-figures.ts';
import { type ClientCrew, type CrewOptions, startCrew } from './clients.ts';
import { type Debts, isSettledSince, readDebts } from './copies-watch.ts';
import type { Recovery } from './evidence.ts';
import type { Cause, Fault, Scene } from './faults/fault.ts';
import { type NameserverWatch, watchNameservers } from './nameserver-watch.ts';
import { startUnbound, UNBOUND } from './unbound.ts';
import { readHealths } from './vantage-events.ts';

/** The drill cannot go on; nothing is said about the fleet. The message is a sentence. */
export class DrillAborted extends Error {
  override readonly name = 'DrillAborted';
}

export interface Stage {
  readonly fleet: LocalFleet;
  readonly fault: Fault;
  readonly site: LocalSiteName;
  readonly faultSeconds: number;
  readonly watch: NameserverWatch;
  readonly dns: ClientCrew;
  readonly failover: ClientCrew;
  /** Crews that the fault brought along. */
  readonly load: ClientCrew[];
  readonly crewOptions: CrewOptions;
  readonly clock: Clock;
  readonly random: Random;
  readonly say: (progress: string) => void;
  /** Aborts when the drill is to stop at once. */
  readonly signal: AbortSignal;
}

const POLL_MS = 100;
const BASELINE_WITHIN_MS = 90_000;
/** So long everything must have been well before the fault. */
const BASELINE_CLEAN_MS = 2000;
const PROOF_WITHIN_MS = 10_000;
const READY_WITHIN_MS = 30_000;
const RETURN_WITHIN_MS = 60_000;
/**
 * What is accepted and has not arrived is lost only if nothing arrives any more: on a busy machine the last messages
 * take their time.
 */
const STILL_MS = 15_000;
const READ_WITHIN_MS = 120_000;
const COPIES_WITHIN_MS = 30_000;
/** Sites compare what they hold every half minute, a quarter more or less; what one of them lost is back by then. */
const REPAIRED_WITHIN_MS = 45_000;
/** A fault that is a course of events may take so long. */
const COURSE_WITHIN_MS = 3_700_000;
/** Relays refresh what they say about their debts once a second; earlier readings may be from before the event. */
const DEBTS_STALE_MS = 1500;

/** Resolves true when `condition` holds, false when it does not within `withinMs`. */
async function until(
  stage: Pick<Stage, 'clock' | 'signal'>,
  withinMs: number,
  condition: () => boolean | Promise<boolean>,
): Promise<boolean> {
  const deadlineMs = stage.clock.monotonicMs() + withinMs;
  for (;;) {
    stage.signal.throwIfAborted();
    if (await condition()) return true;
    if (stage.clock.monotonicMs() > deadlineMs) return false;
    await stage.clock.sleep(POLL_MS, stage.signal);
  }
}

/** Watches what the nameservers of the fleet, and an unbound in front of them, answer for the canonical name. */
export function watchFleet(fleet: LocalFleet, clock: Clock, random: Random): NameserverWatch {
  const unbound = startUnbound(fleet);
  return watchNameservers(
    [
      ...fleet.sites.map(({ layout }) => ({
        site: layout.name,
        address: layout.vantageAddress,
        port: fleet.ports.dns,
      })),
      ...(unbound === undefined ? [] : [unbound]),
    ],
    fleet.identities.manifest.zone,
    new Map(fleet.sites.map(({ layout }) => [layout.relayAddress, layout.name])),
    clock,
    random,
  );
}

/**
 * Traffic flows and no send fails, every recipient is connected, every nameserver answers with every site, and every
 * vantage believes every site to be up: from there on a fault has to be noticed, not only not forgiven.
 */
export async function proveBaseline(stage: Stage): Promise<void> {
  const { clock, dns, failover } = stage;
  for (const crew of [dns, failover]) crew.command('start');
  let cleanSinceMs = clock.monotonicMs();
  let failedBefore = 0;
  let why = '';
  const isWell = async (): Promise<boolean> => {
    const failed = dns.progress().failed + failover.progress().failed;
    why = failed > failedBefore ? 'sends fail' : await whyNotWell(stage);
    failedBefore = failed;
    const nowMs = clock.monotonicMs();
    if (why !== '') cleanSinceMs = nowMs;
    return nowMs - cleanSinceMs >= BASELINE_CLEAN_MS;
  };
  if (!(await until(stage, BASELINE_WITHIN_MS, isWell))) {
    throw new DrillAborted(`The fleet was not well before the fault: ${why}.`);
  }
}

/** '' when nothing is amiss. */
async function whyNotWell(stage: Stage): Promise<string> {
  const { dns, failover, fleet, watch } = stage;
  const crews = [dns, failover];
  const windowMs = fleet.identities.manifest.health.withdrawalWindowMs;
  if (departuresSince(watch.changes, stage.clock.monotonicMs() - windowMs).length > 0) {
    return 'a site was withdrawn, and no other may be until the withdrawal window is over';
  }
  if (watch.changes.some(({ nameserver }) => nameserver === UNBOUND) && watch.current(UNBOUND).length === 0) {
    return 'unbound finds no site';
  }
  if (fleet.sites.some(({ layout }) => watch.current(layout.name).length < fleet.sites.length)) {
    return 'a nameserver does not answer with every site';
  }
  if (!allLinked(crews)) return 'a recipient is not connected';
  if (crews.some((crew) => crew.progress().delivered === 0)) return 'no message arrives';
  const healths = await Promise.all(
    fleet.sites.map(async ({ layout }) => await readHealths(layout.vantageAddress, fleet.ports.private)),
  );
  const allUp = healths.every(
    (seen) => seen.length === fleet.sites.length && seen.every((one) => one === 'up'),
  );
  return allUp ? '' : 'a vantage does not believe that every site is up';
}

export interface Caused {
  readonly cause: Cause;
  readonly beganMs: number;
  /** Undefined: it was not proved effective. */
  readonly provedMs: number | undefined;
}

/** Causes the fault and waits until it is proved to be effective. */
export async function causeFault(stage: Stage): Promise<Caused> {
  const { clock, fleet, say } = stage;
  const beganMs = clock.monotonicMs();
  const scene: Scene = {
    fleet,
    site: fleet.site(stage.site),
    others: fleet.sites.filter(({ layout }) => layout.name !== stage.site),
    seconds: stage.faultSeconds,
    clock,
    random: stage.random,
    crewOptions: stage.crewOptions,
    join: (crew) => void stage.load.push(crew),
  };
  const cause = await stage.fault.inject(scene);
  const proved = await until(stage, PROOF_WITHIN_MS, cause.isEffective);
  const provedMs = proved ? clock.monotonicMs() : undefined;
  say(`${stage.site}: ${cause.done}${proved ? ', proved' : ', NOT proved'}`);
  return { cause, beganMs, provedMs };
}

/** Lets the fault last, and watches when the other sites have two copies of everything again. */
export async function sitOutFault(
  stage: Stage,
  { beganMs, cause }: Caused,
): Promise<Pick<Recovery, 'twoCopiesMs'>> {
  const { clock, fleet } = stage;
  const others = fleet.sites.filter(({ layout }) => layout.name !== stage.site);
  const over = new AbortController();
  let courseEnded = cause.course === undefined;
  const course = cause.course?.(AbortSignal.any([over.signal, stage.signal])).finally(() => {
    courseEnded = true;
  });
  let twoCopiesMs: number | undefined;
  let toldMs = beganMs;
  const endMs = beganMs + stage.faultSeconds * 1000;
  try {
    await until(stage, COURSE_WITHIN_MS, async () => {
      const nowMs = clock.monotonicMs();
      if (twoCopiesMs === undefined && nowMs > beganMs + DEBTS_STALE_MS) {
        if (await oweNothing(stage, others, beganMs)) twoCopiesMs = clock.monotonicMs();
      }
      if (nowMs - toldMs >= 5000) {
        toldMs = nowMs;
        stage.say(progressLine(stage));
      }
      return nowMs >= endMs && (courseEnded || cause.isEndless === true);
    });
  } finally {
    over.abort(new Error('the fault is over'));
    await course;
  }
  return { twoCopiesMs };
}

/** Ends the fault, and waits until every site wants clients, is in every answer and has its copies. */
export async function endFault(
  stage: Stage,
  { cause }: Caused,
): Promise<Omit<Recovery, 'twoCopiesMs'> & { readonly endedMs: number }> {
  const { clock, fleet, say } = stage;
  const endedMs = clock.monotonicMs();
  const times = { readyMs: noTime(), inEveryAnswerMs: noTime(), threeCopiesMs: noTime() };
  try {
    await cause.heal();
    await Promise.all(fleet.sites.map(async (site) => await site.untilReady(READY_WITHIN_MS)));
    times.readyMs = clock.monotonicMs();
    say('the fault is over, and every site is ready');
  } catch (error) {
    say(error instanceof Error ? error.message : 'a site did not come back');
    return { ...times, endedMs };
  }
  const { readyMs } = times;
  await until(stage, RETURN_WITHIN_MS, async () => {
    const nowMs = clock.monotonicMs();
    const everywhere = fleet.sites.every(
      ({ layout }) => stage.watch.current(layout.name).length === fleet.sites.length,
    );
    if (times.inEveryAnswerMs === undefined && everywhere) {
      times.inEveryAnswerMs = nowMs;
      say('every site is in every answer');
    }
    if (times.threeCopiesMs === undefined && nowMs > readyMs + DEBTS_STALE_MS) {
      if (await oweNothing(stage, fleet.sites, readyMs)) times.threeCopiesMs = clock.monotonicMs();
    }
    return times.inEveryAnswerMs !== undefined && times.threeCopiesMs !== undefined;
  });
  return { ...times, endedMs };
}

/**
 * Stops the senders and waits until everything accepted for a connected recipient has arrived, or nothing arrives
 * although every recipient is connected. True when all were at the end: then what has not arrived is lost.
 */
export async function drain(stage: Stage): Promise<boolean> {
  const crews = [stage.dns, stage.failover, ...stage.load];
  for (const crew of crews) crew.command('stop');
  const quietMs = quietSince(stage.clock);
  await until(stage, READ_WITHIN_MS, () => {
    const delivered = total(crews, 'delivered');
    const quiet = quietMs(delivered, total(crews, 'open') > 0 || !allLinked(crews));
    return quiet >= (delivered >= total(crews, 'acceptedForReaders') ? 1000 : STILL_MS);
  });
  // A late reader asks one site alone, which has to have been given everything by then.
  const stoppedMs = stage.clock.monotonicMs();
  await until(stage, COPIES_WITHIN_MS, async () => {
    const believed = stage.clock.monotonicMs() > stoppedMs + DEBTS_STALE_MS;
    return believed && (await oweNothing(stage, stage.fleet.sites, stoppedMs));
  });
  stage.say(progressLine(stage));
  const connected = allLinked(crews);
  await finish(crews);
  return connected;
}

/** Reads the late mailboxes, each through one site alone. True when each was read to its end. */
export async function readLate(stage: Stage): Promise<boolean> {
  const late = startCrew('late', { ...stage.crewOptions, senders: 0 });
  const senders = [stage.dns, stage.failover];
  const expected = total(senders, 'accepted') - total(senders, 'acceptedForReaders');
  const quietMs = quietSince(stage.clock);
  let finished = false;
  await until(stage, READ_WITHIN_MS, () => {
    const { delivered, emptied } = late.progress();
    finished = emptied >= late.recipients;
    return quietMs(delivered, false) >= (finished && delivered >= expected ? 1000 : REPAIRED_WITHIN_MS);
  });
  stage.say(`late readers: ${late.progress().delivered} messages, each mailbox through one site alone`);
  await finish([late]);
  return finished;
}

async function finish(crews: readonly ClientCrew[]): Promise<void> {
  for (const crew of crews) crew.command('finish');
  await Promise.all(crews.map(async (crew) => await crew.process.ended));
}

/** Whether none of `sites` owes another of them anything that was accepted before `sinceMs`. */
async function oweNothing(stage: Stage, sites: readonly LocalSite[], sinceMs: number): Promise<boolean> {
  const names = sites.map(({ layout }) => layout.name);
  const debts = await Promise.all(
    sites.map(async ({ layout }): Promise<readonly [string, Debts | undefined]> => {
      const place = { site: layout.name, address: layout.relayAddress, port: stage.fleet.ports.private };
      return [layout.name, await readDebts(place, stage.clock)];
    }),
  );
  return debts.every(([debtor, seen]) => {
    if (seen === undefined || seen.recovering) return false;
    return isSettledSince(
      seen,
      names.filter((name) => name !== debtor),
      sinceMs,
    );
  });
}

/** For how long, in milliseconds, a count has not changed and nothing was under way. */
function quietSince(clock: Clock): (count: number, isBusy: boolean) => number {
  let before = -1;
  let sinceMs = clock.monotonicMs();
  return (count, isBusy) => {
    const nowMs = clock.monotonicMs();
    if (count !== before || isBusy) sinceMs = nowMs;
    before = count;
    return nowMs - sinceMs;
  };
}

function progressLine(stage: Stage): string {
  const [dns, failover] = [stage.dns.progress(), stage.failover.progress()];
  const answers = stage.fleet.sites.map(
    ({ layout }) => `ns-${layout.name} ${stage.watch.current(layout.name).join('+') || 'silent'}`,
  );
  return (
    `accepted ${dns.accepted + failover.accepted}, not accepted ${dns.failed} (DNS-only) ${failover.failed} (failover), ` +
    `delivered ${dns.delivered + failover.delivered}; ${answers.join(', ')}`
  );
}

function allLinked(crews: readonly ClientCrew[]): boolean {
  return crews.every((crew) => crew.progress().linked >= crew.recipients);
}

function total(
  crews: readonly ClientCrew[],
  count: 'open' | 'accepted' | 'acceptedForReaders' | 'delivered',
): number {
  return crews.reduce((sum, crew) => sum + crew.progress()[count], 0);
}

function noTime(): number | undefined {
  return undefined;
}
