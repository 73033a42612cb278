/**
 * What the clocks of other sites say, held against the monotonic clock of this machine and not against its wall clock:
 * when that one jumps, it is seen at once and not at the next heartbeat.
 */
import type { SiteName } from '../fleet/manifest/manifest.ts';
import type { Clock } from '../system/clock.ts';
import { expiryLag } from './core/clock-offset.ts';

export interface PeerClocks {
  /** A site's wall clock was `wallMs` when our monotonic clock was `atMs`. */
  note(site: SiteName, wallMs: number, atMs: number): void;
  /** A site has left the fleet: what its clock says counts no more. */
  forget(site: SiteName): void;
  /** Each known clock minus ours now, milliseconds; the same map as long as nothing has changed. */
  readonly skews: () => ReadonlyMap<SiteName, number>;
  /** The own wall clock, put back to where nothing expires too early by it, Unix milliseconds. */
  readonly expiryWallMs: () => number;
}

/** The wall clock counts whole milliseconds and the monotonic one does not, so that they seem to differ by one. */
const SAME_MS = 2;

/** Knows nobody at first. */
export function createPeerClocks(clock: Pick<Clock, 'wallMs' | 'monotonicMs'>): PeerClocks {
  /** Each site's wall clock at the origin of our monotonic clock. */
  const origins = new Map<SiteName, number>();
  /** What was reckoned last, for an own wall clock that was `ownMs` at the origin of our monotonic clock. */
  let last: { readonly ownMs: number; readonly skews: ReadonlyMap<SiteName, number> } | undefined;
  const skews = (): ReadonlyMap<SiteName, number> => {
    const ownMs = clock.wallMs() - clock.monotonicMs();
    // It is asked for with every message, and changes when a site says so or when a clock is set.
    if (last === undefined || Math.abs(ownMs - last.ownMs) > SAME_MS) {
      last = { ownMs, skews: new Map([...origins].map(([site, originMs]) => [site, originMs - ownMs])) };
    }
    return last.skews;
  };
  return {
    note: (site, wallMs, atMs) => {
      origins.set(site, wallMs - atMs);
      last = undefined;
    },
    forget: (site) => {
      origins.delete(site);
      last = undefined;
    },
    skews,
    expiryWallMs: () => clock.wallMs() - expiryLag([...skews().values()]),
  };
}

/** The own clock, with the wall clock put right by what the other sites say: behind by `offsetMs`, milliseconds. */
export function fleetClock(clock: Clock, offsetMs: () => number): Clock {
  return {
    monotonicMs: () => clock.monotonicMs(),
    wallMs: () => Math.round(clock.wallMs() - offsetMs()),
    sleep: (ms, signal) => clock.sleep(ms, signal),
    after: (ms, callback) => clock.after(ms, callback),
  };
}
