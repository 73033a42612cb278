/**
 * Does this site want clients now? Yes while its store answers and is whole, it reaches enough providers to accept
 * a message, its clock agrees with the others, and it is not shutting down.
 *
 * Not "every peer is reachable": then one provider's death would make all the others unready too.
 */
import type { SiteEntry, SiteName } from '../fleet/manifest/manifest.ts';
import type { Clock } from '../system/clock.ts';
import { clockOffset, expiryLag } from './core/clock-offset.ts';
import { canReachEnough } from './core/copies.ts';
import type { RelayEvents } from './events.ts';
import type { MessageStore, PeerLink } from './ports.ts';

type NotReady =
  | 'draining'
  | 'no_certificate'
  | 'store_unavailable'
  | 'recovering'
  | 'too_few_providers'
  | 'clock_skew';

export interface ReadinessDeps {
  readonly own: SiteEntry;
  readonly copiesNeeded: number;
  readonly store: MessageStore;
  readonly links: readonly PeerLink[];
  /** Each peer's clock minus ours, milliseconds. */
  readonly skews: () => ReadonlyMap<string, number>;
  readonly isRecovering: () => boolean;
  readonly isDraining: () => boolean;
  /** Whether there is a certificate to show to clients; one that has expired is one, and told of elsewhere. */
  readonly hasCertificate: () => boolean;
  readonly clock: Clock;
  readonly events: Pick<RelayEvents, 'clockOff' | 'clockRight'>;
}

export interface Readiness {
  /** Everything that speaks against sending clients here; empty when ready. */
  reasons(): readonly NotReady[];
  /** Own clock minus the median of all known clocks, milliseconds. */
  clockOffsetMs(): number;
  /** How far behind the own clock to be when something is deleted because it has expired, milliseconds. */
  expiryLagMs(): number;
  /** Asks the store every second until `stopped`. */
  readonly watch: (stopped: AbortSignal) => Promise<void>;
}

/** A clock that is further off than this could expire unread messages. */
const CLOCK_OFFSET_MS_MAX = 30_000;
/** From here on a person should look, and below the half of it all is well again. */
const CLOCK_ALARM_MS = 500;
const WATCH_MS = 1000;

/** Not ready until the store has answered once. */
export function createReadiness(deps: ReadinessDeps): Readiness {
  let storeAnswers = false;
  let reckonedFor: ReadonlyMap<SiteName, number> | undefined;
  let offsetMsNow = 0;
  const clockOffsetMs = (): number => {
    const skews = deps.skews();
    if (skews !== reckonedFor) {
      reckonedFor = skews;
      offsetMsNow = clockOffset([...skews.values()]);
    }
    return offsetMsNow;
  };
  let isOff = false;
  const alarm = (): void => {
    const offsetMs = Math.round(clockOffsetMs());
    if (!isOff && Math.abs(offsetMs) > CLOCK_ALARM_MS) {
      isOff = true;
      deps.events.clockOff(offsetMs);
    } else if (isOff && Math.abs(offsetMs) < CLOCK_ALARM_MS / 2) {
      isOff = false;
      deps.events.clockRight();
    }
  };
  return {
    clockOffsetMs,
    expiryLagMs: () => expiryLag([...deps.skews().values()]),
    reasons: () => {
      const reasons: NotReady[] = [];
      if (deps.isDraining()) reasons.push('draining');
      if (!deps.hasCertificate()) reasons.push('no_certificate');
      if (!storeAnswers) reasons.push('store_unavailable');
      if (deps.isRecovering()) reasons.push('recovering');
      const reachable = deps.links.filter((link) => link.isUp());
      if (!canReachEnough(deps.own, reachable, deps.copiesNeeded)) reasons.push('too_few_providers');
      if (Math.abs(clockOffsetMs()) > CLOCK_OFFSET_MS_MAX) reasons.push('clock_skew');
      return reasons;
    },
    watch: async (stopped) => {
      while (!stopped.aborted) {
        alarm();
        storeAnswers = await deps.store.ping().then(
          () => true,
          () => false,
        );
        await deps.clock.sleep(WATCH_MS, stopped).catch(() => undefined);
      }
    },
  };
}
