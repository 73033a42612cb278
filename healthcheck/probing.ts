/**
 * Probing: every target at the same fixed period, each from a phase of its own, and every observation to the
 * judgement. A target that says it is ready while messages do not get through it is not ready (canaries.ts). A family in which this vantage has no address itself is not probed: it could only see its own lack.
 */
import type { SecureContext } from 'node:tls';
import type { Manifest, SiteName } from '../fleet/manifest/manifest.ts';
import type { Clock } from '../system/clock.ts';
import type { Random } from '../system/random.ts';
import { probe } from './adapters/https-probe.ts';
import { everyPeriod } from './adapters/schedule.ts';
import { startCanaries } from './canaries.ts';
import { combineOutcomes, isLocalTrouble } from './core/observation.ts';
import { keyOf, siteNamed, type Target, type TargetKey, targetsOf, vantageNamed } from './core/target.ts';
import type { Events } from './events.ts';
import type { Judgement } from './judgement.ts';

export interface ProbingOptions {
  readonly self: SiteName;
  readonly trust: SecureContext;
  /** What relays take for making push URLs; undefined where minting is open. */
  readonly operatorToken: string | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly judgement: Pick<Judgement, 'observe' | 'seenStrained'>;
  readonly events: Pick<Events, 'probingBegan' | 'observed' | 'canaryEnded' | 'canaryVerdict'>;
}

/** Probes the sites of `manifest` until the returned function is called. */
export function startProbing(manifest: Manifest, options: ProbingOptions): () => void {
  const { self, trust, clock, random, judgement, events } = options;
  const vantage = vantageNamed(manifest, self)?.vantage;
  const targets = targetsOf(manifest).filter(
    ({ family }) => vantage !== undefined && vantage[family] !== null,
  );
  events.probingBegan(targets);
  const ready = new Set<TargetKey>();
  const isReady = (target: Target): boolean => ready.has(keyOf(target));
  const canaries = startCanaries({ ...options, manifest, targets, isReady });
  const probeTarget = async (target: Target): Promise<void> => {
    const addresses = siteNamed(manifest, target.site)?.relay[target.family] ?? [];
    const seen = combineOutcomes(
      await Promise.all(
        addresses.map(async (address) =>
          probe({
            address,
            port: manifest.port,
            serverName: manifest.zone,
            trust,
            timeoutMs: manifest.health.probeTimeoutMs,
            lateMs: manifest.health.probeIntervalMs,
            strained: () => judgement.seenStrained(target),
            clock,
          }),
        ),
      ),
    );
    if (seen === 'ready') ready.add(keyOf(target));
    else if (!isLocalTrouble(seen)) ready.delete(keyOf(target));
    const outcome = seen === 'ready' && canaries.fails(target) ? 'canary_failed' : seen;
    events.observed(target, outcome);
    if (!isLocalTrouble(outcome)) judgement.observe(target, outcome === 'ready');
  };
  const stops = targets.map((target) =>
    everyPeriod(manifest.health.probeIntervalMs, () => void probeTarget(target), { clock, random }),
  );
  return () => {
    canaries.stop();
    for (const stop of stops) stop();
  };
}
