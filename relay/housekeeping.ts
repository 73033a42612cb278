/**
 * What a relay does on the side: it discards what has expired, and keeps the figures that operators watch.
 */
import type { Clock } from '../system/clock.ts';
import type { Metrics } from '../system/metrics.ts';
import type { Admission } from './admission.ts';
import type { CatchUp } from './catch-up.ts';
import type { RelayEvents } from './events.ts';
import type { Debt, MessageStore, PeerLink } from './ports.ts';
import type { Quotas } from './quotas.ts';
import type { Readiness } from './readiness.ts';

export interface HousekeepingDeps {
  readonly store: MessageStore;
  readonly links: readonly PeerLink[];
  readonly readiness: Readiness;
  /** Each peer's clock minus ours, milliseconds. */
  readonly skews: () => ReadonlyMap<string, number>;
  readonly isRecovering: () => boolean;
  readonly recoveringForMs: () => number;
  readonly catchUp: Pick<CatchUp, 'note'>;
  readonly admission: Pick<Admission, 'load'>;
  readonly quotas: Pick<Quotas, 'fullness'>;
  readonly recipients: { readonly count: () => number };
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly events: RelayEvents;
}

const INTERVAL_MS = 1000;
/** Messages discarded in one step, so that a mass expiry does not hold up the rest. */
const EXPIRE_STEP = 500;

/** Exports the gauges at once; the returned function keeps house until `stopped`. */
export function createHousekeeping(deps: HousekeepingDeps): (stopped: AbortSignal) => Promise<void> {
  const { store, clock, events, readiness } = deps;
  const debts = new Map<string, Debt>();
  exportGauges(deps, debts);
  const noteDebts = async (sites: readonly string[]): Promise<void> => {
    for (const [site, debt] of await store.debts(sites)) {
      debts.set(site, debt);
      deps.catchUp.note(site, debt);
    }
  };
  const expire = async (sites: readonly string[]): Promise<void> => {
    // A clock that the others contradict, or that nobody has confirmed, must not expire anything.
    const isConfirmed = sites.length === 0 || deps.skews().size > 0;
    if (!isConfirmed || readiness.reasons().includes('clock_skew')) return;
    const expired = await store.expire(clock.wallMs() - readiness.expiryLagMs(), EXPIRE_STEP);
    if (expired > 0) events.discarded('expired', expired);
  };
  return async (stopped) => {
    while (!stopped.aborted) {
      const sites = deps.links.map(({ site }) => site);
      for (const site of debts.keys()) if (!sites.includes(site)) debts.delete(site);
      // When the store is away, or a part of it, readiness says so, and the next round tries again.
      await noteDebts(sites).catch(() => undefined);
      await expire(sites).catch(() => undefined);
      await clock.sleep(INTERVAL_MS, stopped).catch(() => undefined);
    }
  };
}

function exportGauges(deps: HousekeepingDeps, debts: ReadonlyMap<string, Debt>): void {
  const { metrics, clock, links, readiness } = deps;
  const ageSeconds = (oldestMs: number | undefined): number =>
    oldestMs === undefined ? 0 : Math.max(0, (clock.wallMs() - oldestMs) / 1000);
  metrics.gauge('owed', 'Outbox entries, by the site they are owed to', 'site', () => {
    return new Map([...debts].map(([site, { count }]) => [site, count]));
  });
  metrics.gauge('owed_oldest_seconds', 'Age of the oldest outbox entry', 'site', () => {
    return new Map([...debts].map(([site, { oldestMs }]) => [site, ageSeconds(oldestMs)]));
  });
  metrics.gauge('peer_up', 'Whether the link to a site is up', 'site', () => {
    return new Map(links.map((link) => [link.site, link.isUp() ? 1 : 0]));
  });
  metrics.value('recovering', 'Whether the store may lack what it once held', () =>
    deps.isRecovering() ? 1 : 0,
  );
  metrics.value(
    'recovering_seconds',
    'For how long the store has not been known to be whole',
    () => deps.recoveringForMs() / 1000,
  );
  metrics.value('ready', 'Whether this site wants clients', () => (readiness.reasons().length === 0 ? 1 : 0));
  metrics.gauge('peer_clock_skew_milliseconds', "A peer's clock minus the own one", 'site', deps.skews);
  metrics.value('clock_offset_milliseconds', 'Own clock minus the median of all', () =>
    readiness.clockOffsetMs(),
  );
  metrics.value('requests_under_way', 'Push requests under way now', () => deps.admission.load().underWay);
  metrics.value(
    'event_loop_late_milliseconds',
    'How late the event loop is, smoothed',
    () => deps.admission.load().lagMs,
  );
  metrics.value('store_fullness', 'Share of the memory of the store that is in use', () =>
    deps.quotas.fullness(),
  );
  metrics.value('sessions', 'Recipients connected now', () => deps.recipients.count());
  metrics.value('store_durable', 'Whether the store survives the process', () =>
    deps.store.durable ? 1 : 0,
  );
}
