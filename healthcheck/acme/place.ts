/**
 * This site in the fleet, as whoever gets its certificate sees it: which names it needs, who else is there, and how
 * challenges reach them.
 */
import type { Manifest, SiteName } from '../../fleet/manifest/manifest.ts';
import type { Clock } from '../../system/clock.ts';
import type { Publisher } from './publication.ts';

export interface Place extends Publisher {
  readonly manifest: Pick<Manifest, 'zone' | 'sites' | 'health'>;
}

/** After a start the votes of the others are awaited so long, so that nobody who is there is taken for dead. */
const SETTLE_MS = 10_000;
const LOOK_MS = 100;

/** What the certificate of a site is for. */
export function namesOf(zone: string, site: SiteName): readonly string[] {
  return [zone, `${site}.${zone}`];
}

/** Waits for a place in the fleet, then for all the others, or for as long as they may take. */
export async function untilSettled(
  place: () => Place | undefined,
  site: SiteName,
  clock: Clock,
  stopped: AbortSignal,
): Promise<void> {
  let untilMs: number | undefined;
  while (!stopped.aborted) {
    const here = place();
    if (here !== undefined) {
      untilMs ??= clock.monotonicMs() + SETTLE_MS;
      const heard = new Set(here.heard());
      if (here.manifest.sites.every(({ name }) => name === site || heard.has(name))) return;
      if (clock.monotonicMs() >= untilMs) return;
    }
    await clock.sleep(LOOK_MS, stopped).catch(() => undefined);
  }
}
