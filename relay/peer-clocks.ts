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
  /** Each known clock minus ours now, milliseconds. */
  readonly skews: () => ReadonlyMap<SiteName, number>;
  /** The own wall clock, put back to where nothing expires too early by it, Unix milliseconds. */
  readonly expiryWallMs: () => number;
}

/** Knows nobody at first. */
export function createPeerClocks(clock: Pick<Clock, 'wallMs' | 'monotonicMs'>): PeerClocks {
  /** Each site's wall clock at the origin of our monotonic clock. */
  const origins = new Map<SiteName, number>();
  const skews = (): ReadonlyMap<SiteName, number> => {
    const ownMs = clock.wallMs() - clock.monotonicMs();
    return new Map([...origins].map(([site, originMs]) => [site, originMs - ownMs]));
  };
  return {
    note: (site, wallMs, atMs) => void origins.set(site, wallMs - atMs),
    forget: (site) => void origins.delete(site),
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
