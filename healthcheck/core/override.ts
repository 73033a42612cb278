/**
 * An operator's word beside the measured health: sites to serve, to drain or to keep out, and a freeze of all
 * automation. Each ends at a date, because an override that somebody forgot is an outage that waits.
 */
import type { Manifest } from '../../fleet/manifest/manifest.ts';

type Ordered = Pick<Manifest, 'overrides'>;

/** Whether no measurement may change an answer now. */
export function isFrozen({ overrides: { frozenUntilWallMs } }: Ordered, wallMs: number): boolean {
  return frozenUntilWallMs !== null && wallMs < frozenUntilWallMs;
}

/** Milliseconds until the next override or the freeze ends by itself; Infinity when nothing will. */
export function untilOverrideEndsMs({ overrides }: Ordered, wallMs: number): number {
  const ends = [
    ...overrides.sites.map(({ untilWallMs }) => untilWallMs),
    ...(overrides.frozenUntilWallMs === null ? [] : [overrides.frozenUntilWallMs]),
  ];
  return Math.min(...ends.filter((end) => end > wallMs).map((end) => end - wallMs));
}
