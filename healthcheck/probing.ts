/**
 * Probing: every target at the same fixed period, each from a phase of its own, and every observation to the
 * judgement. A family in which this vantage has no address itself is not probed: it could only see its own lack.
 */
import type { SecureContext } from 'node:tls';
import type { Manifest, SiteName } from '../fleet/manifest/manifest.ts';
import type { Clock } from '../system/clock.ts';
import type { Random } from '../system/random.ts';
import { probe } from './adapters/https-probe.ts';
import { everyPeriod } from './adapters/schedule.ts';
import { combineOutcomes, isLocalTrouble } from './core/observation.ts';
import { siteNamed, type Target, targetsOf, vantageNamed } from './core/target.ts';
import type { Events } from './events.ts';
import type { Judgement } from './judgement.ts';

export interface ProbingOptions {
  readonly self: SiteName;
  readonly trust: SecureContext;
  readonly clock: Clock;
  readonly random: Random;
  readonly judgement: Judgement;
  readonly events: Events;
}

/** Probes the sites of `manifest` until the returned function is called. */
export function startProbing(
  manifest: Manifest,
  { self, trust, clock, random, judgement, events }: ProbingOptions,
): () => void {
  const probeTarget = async (target: Target): Promise<void> => {
    const addresses = siteNamed(manifest, target.site)?.relay[target.family] ?? [];
    const outcome = combineOutcomes(
      await Promise.all(
        addresses.map(async (address) =>
          probe({
            address,
            port: manifest.port,
            serverName: manifest.zone,
            trust,
            timeoutMs: manifest.health.probeTimeoutMs,
            clock,
          }),
        ),
      ),
    );
    events.observed(target, outcome);
    if (!isLocalTrouble(outcome)) judgement.observe(target, outcome === 'ready');
  };
  const vantage = vantageNamed(manifest, self)?.vantage;
  const stops = targetsOf(manifest)
    .filter(({ family }) => vantage !== undefined && vantage[family] !== null)
    .map((target) =>
      everyPeriod(manifest.health.probeIntervalMs, () => void probeTarget(target), { clock, random }),
    );
  return () => {
    for (const stop of stops) stop();
  };
}
