/**
 * What finds differences that nobody knows of: a message that an outbox had no room for, a record that was damaged on
 * disk, a write that a cluster forgot in a failover. Every half minute a site compares itself with each other one,
 * and within an hour it reads everything it holds once, because Redis loads a damaged byte without a word.
 *
 * Damage that is found anywhere brings the next comparison forward, and so does a store that was away: a Redis that had no
 * power, or an older copy that took over, may lack what was confirmed last.
 */
import { describeError, type Log } from '../../system/log.ts';
import type { Random } from '../../system/random.ts';
import { PARTITIONS } from '../core/mailbox.ts';
import type { EachLink } from '../each-link.ts';
import type { PeerLink } from '../ports.ts';
import { takeWhatIsLacking } from './comparison.ts';
import type { PullingDeps } from './pulling.ts';

export interface AntiEntropyDeps extends PullingDeps {
  readonly eachLink: EachLink;
  readonly random: Random;
  readonly log: Log;
  /** A site that is being refilled compares itself already. */
  readonly isRecovering: () => boolean;
}

/** Between two comparisons with one site, a quarter more or less, milliseconds. */
const COMPARE_MS = 30_000;
/** Longer than a write and its repetition take to reach every site. */
const CONFIRM_MS = 3_000;
/** More than clocks may differ, so that what is expiring is not compared. */
const MARGIN_MS = 60_000;
/** Between two looks whether a comparison is due, milliseconds. */
const TICK_MS = 1_000;
/** Between the readings of two partitions: all 256 in 43 minutes. */
const VERIFY_MS = 10_000;
const VERIFY_PAGE = 256;

/** Compares and verifies until `stopped`; never rejects before. */
export async function runAntiEntropy(deps: AntiEntropyDeps, stopped: AbortSignal): Promise<void> {
  let occasions = 0;
  const note = (): void => {
    occasions += 1;
  };
  deps.store.onDamage(note);
  deps.store.onReturn(note);
  const comparing = deps.eachLink(
    (link, gone) => compareAgainAndAgain(link, () => occasions, deps, gone),
    stopped,
  );
  await Promise.all([verifyAgainAndAgain(deps, stopped), comparing]);
}

async function compareAgainAndAgain(
  link: PeerLink,
  occasionsNow: () => number,
  deps: AntiEntropyDeps,
  stopped: AbortSignal,
): Promise<void> {
  const { clock, events, log, random } = deps;
  let occasions = occasionsNow();
  let waitMs = COMPARE_MS * random.fraction();
  while (!stopped.aborted) {
    await clock.sleep(TICK_MS, stopped).catch(() => undefined);
    waitMs -= TICK_MS;
    const isDue = waitMs <= 0 || occasions !== occasionsNow();
    if (stopped.aborted || !isDue || !link.isUp() || deps.isRecovering()) continue;
    occasions = occasionsNow();
    waitMs = COMPARE_MS * (0.75 + random.fraction() / 2);
    try {
      const options = { marginMs: MARGIN_MS, confirmMs: CONFIRM_MS, stopped };
      events.compared(await takeWhatIsLacking(link, options, deps));
    } catch (error) {
      if (stopped.aborted) return;
      events.comparisonFailed();
      log.debug('comparison paused', { site: link.site, reason: describeError(error) });
    }
  }
}

async function verifyAgainAndAgain(deps: AntiEntropyDeps, stopped: AbortSignal): Promise<void> {
  const { store, clock, events, log } = deps;
  let next = Math.floor(deps.random.fraction() * PARTITIONS.length);
  while (!stopped.aborted) {
    await clock.sleep(VERIFY_MS, stopped).catch(() => undefined);
    const partition = PARTITIONS[next % PARTITIONS.length];
    if (stopped.aborted || partition === undefined) return;
    try {
      for (let cursor = '', page = 0; page === 0 || cursor !== ''; page += 1) {
        const verified = await store.verify(partition, cursor, VERIFY_PAGE);
        events.verified(verified.checked);
        cursor = verified.cursor;
      }
      next += 1;
    } catch (error) {
      log.debug('verification paused', { reason: describeError(error) });
    }
  }
}
