/**
 * Does this site want clients now? Yes while its store answers and is whole, it reaches enough providers to accept
 * a message, its clock agrees with the others, and it is not shutting down.
 *
 * Not "every peer is reachable": then one provider's death would make all the others unready too.
 */
import type { SiteEntry } from '../fleet/manifest.ts';
import type { Clock } from '../system/clock.ts';
import { clockOffset } from './core/clock-offset.ts';
import { canReachEnough } from './core/copies.ts';
import type { MessageStore, PeerLink } from './ports.ts';

type NotReady = 'draining' | 'store_unavailable' | 'recovering' | 'too_few_providers' | 'clock_skew';

export interface ReadinessDeps {
  readonly own: SiteEntry;
  readonly copiesNeeded: number;
  readonly store: MessageStore;
  readonly links: readonly PeerLink[];
  /** Each peer's clock minus ours, milliseconds. */
  readonly skews: ReadonlyMap<string, number>;
  readonly isRecovering: () => boolean;
  readonly isDraining: () => boolean;
  readonly clock: Clock;
}

export interface Readiness {
  /** Everything that speaks against sending clients here; empty when ready. */
  reasons(): readonly NotReady[];
  /** Own clock minus the median of all known clocks, milliseconds. */
  clockOffsetMs(): number;
  /** Asks the store every second until `stopped`. */
  readonly watch: (stopped: AbortSignal) => Promise<void>;
}

/** A clock that is further off than this could expire unread messages. */
const CLOCK_OFFSET_MS_MAX = 30_000;
const WATCH_MS = 1000;

/** Not ready until the store has answered once. */
export function createReadiness(deps: ReadinessDeps): Readiness {
  let storeAnswers = false;
  const clockOffsetMs = (): number => clockOffset([...deps.skews.values()]);
  return {
    clockOffsetMs,
    reasons: () => {
      const reasons: NotReady[] = [];
      if (deps.isDraining()) reasons.push('draining');
      if (!storeAnswers) reasons.push('store_unavailable');
      if (deps.isRecovering()) reasons.push('recovering');
      const reachable = deps.links.filter((link) => link.isUp());
      if (!canReachEnough(deps.own, reachable, deps.copiesNeeded)) reasons.push('too_few_providers');
      if (Math.abs(clockOffsetMs()) > CLOCK_OFFSET_MS_MAX) reasons.push('clock_skew');
      return reasons;
    },
    watch: async (stopped) => {
      while (!stopped.aborted) {
        storeAnswers = await deps.store.ping().then(
          () => true,
          () => false,
        );
        await deps.clock.sleep(WATCH_MS, stopped).catch(() => undefined);
      }
    },
  };
}
