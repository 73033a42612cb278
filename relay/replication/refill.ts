/**
 * What a site does that may lack what it once acknowledged: it compares itself with the others, takes what it lacks,
 * and only then says that it is whole.
 *
 * A store without an epoch has lost its memory (a new disk, a wiped Redis, a first start); one whose epoch was not
 * seen for a while was away, alone or switched off. Until it is compared with enough providers the site is
 * recovering: it stores new messages and counts for them, but it does not ask for clients, because it could tell a
 * recipient "you have no messages" and be wrong.
 */
import type { SiteEntry } from '../../fleet/manifest/manifest.ts';
import { describeError, type Log } from '../../system/log.ts';
import type { Random } from '../../system/random.ts';
import { canReachEnough } from '../core/copies.ts';
import type { Epoch, PeerLink } from '../ports.ts';
import { takeWhatIsLacking } from './comparison.ts';
import type { PullingDeps } from './pulling.ts';

export interface RefillConfig {
  readonly own: SiteEntry;
  readonly copiesNeeded: number;
  readonly intervalMs: number;
}

export interface RefillDeps extends PullingDeps {
  readonly links: readonly PeerLink[];
  readonly random: Random;
  readonly log: Log;
}

export interface Refill {
  /** Whether the store may lack what it once acknowledged. True until the epoch has been read. */
  readonly isRecovering: () => boolean;
  /** For how long it has been, milliseconds; 0 when the store is whole. */
  readonly recoveringForMs: () => number;
  /** Watches the epoch, and refills whenever it is missing or old, until `stopped`. */
  readonly run: (stopped: AbortSignal) => Promise<void>;
}

/** A site that was not whole and in touch for this long has missed something; longer than a restart, milliseconds. */
const ABSENT_MS = 60_000;
/** How often it is written down that the site is whole and in touch, milliseconds. */
const SEEN_MS = 10_000;
/** Everything is compared, and nobody waits to see whether a difference goes away by itself. */
const CALL_TIMEOUT_MS = 5000;
const ALL_AT_ONCE = { marginMs: 0, confirmMs: 0 } as const;

/** Recovering, until `run` has found an epoch in the store or has refilled it. */
export function createRefill(config: RefillConfig, deps: RefillDeps): Refill {
  const { store, links, clock, log, events } = deps;
  let recovering = true;
  let sinceMs = clock.monotonicMs();
  const isEnough = (reached: readonly PeerLink[]): boolean =>
    canReachEnough(config.own, reached, config.copiesNeeded);

  /** The epoch that counts from now on; undefined when another relay of this site has just begun one. */
  const readOrBegin = async (): Promise<Epoch | undefined> => {
    const epoch = await store.readEpoch();
    const nowMs = clock.wallMs();
    // A mark from the future was made by a clock that has been put right since: nobody knows how old it is.
    const wasAway = epoch !== undefined && Math.abs(nowMs - epoch.seenMs) > ABSENT_MS;
    if (epoch !== undefined && !wasAway) return epoch;
    if (!recovering) {
      recovering = true;
      sinceMs = clock.monotonicMs();
    }
    events.recovering(wasAway ? 'away' : 'no_memory');
    const id = Buffer.from(deps.random.bytes(16)).toString('base64url');
    const begun: Epoch = { id, refilledFrom: [], seenMs: nowMs };
    return (await store.replaceEpoch(epoch, begun)) ? begun : undefined;
  };

  /** Compares with one site; gives the epoch that says so, or undefined when it is over. */
  const refillFrom = async (link: PeerLink, epoch: Epoch): Promise<Epoch | undefined> => {
    const startedMs = clock.monotonicMs();
    // The link asks for the other's time first, and answers keep their order: from here on it is known what that says.
    await link.call({ type: 'ping' }, CALL_TIMEOUT_MS);
    const { taken } = await takeWhatIsLacking(link, ALL_AT_ONCE, deps);
    const tookMs = Math.round(clock.monotonicMs() - startedMs);
    log.info('refilled', { from: link.site, count: taken, tookMs });
    // What was refilled may have been wiped meanwhile; then this epoch is over and nothing is claimed for it.
    const current = await store.readEpoch();
    if (current === undefined || current.id !== epoch.id) return undefined;
    const refilledFrom = [...new Set([...current.refilledFrom, link.site])];
    const next: Epoch = { id: epoch.id, refilledFrom, seenMs: clock.wallMs() };
    return (await store.replaceEpoch(current, next)) ? next : undefined;
  };

  const step = async (): Promise<void> => {
    let epoch = await readOrBegin();
    for (const link of links) {
      if (epoch === undefined) return;
      if (!link.isUp() || epoch.refilledFrom.includes(link.site)) continue;
      try {
        epoch = await refillFrom(link, epoch);
      } catch (error) {
        // One site that cannot be asked must not keep the others from being asked.
        log.debug('refill paused', { from: link.site, reason: describeError(error) });
      }
    }
    if (epoch === undefined) return;
    const { refilledFrom, seenMs } = epoch;
    // Every site that can be asked has been by now: one of them may itself be recovering, and know less than others.
    if (recovering && isEnough(links.filter(({ site }) => refilledFrom.includes(site)))) {
      recovering = false;
      events.recoveredIn(clock.monotonicMs() - sinceMs);
    }
    const isInTouch = !recovering && isEnough(links.filter((link) => link.isUp()));
    const nowMs = clock.wallMs();
    if (isInTouch && Math.abs(nowMs - seenMs) > SEEN_MS) {
      await store.replaceEpoch(epoch, { ...epoch, seenMs: nowMs });
    }
  };

  return {
    isRecovering: () => recovering,
    recoveringForMs: () => (recovering ? clock.monotonicMs() - sinceMs : 0),
    run: async (stopped) => {
      while (!stopped.aborted) {
        await step().catch((error: unknown) => {
          log.debug('refill paused', { reason: describeError(error) });
        });
        await clock.sleep(config.intervalMs, stopped).catch(() => undefined);
      }
    },
  };
}
