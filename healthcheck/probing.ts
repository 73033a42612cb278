/**
 * Probing: every target at the same fixed period, each from a phase of its own, and every observation to the
 * judgement. A family in which this vantage has no address itself is not probed: it could only see its own lack.
 */
import type { Clock } from '../system/clock.ts';
import type { Random } from '../system/random.ts';
import { probe, probeTrust } from './adapters/https-probe.ts';
import { everyPeriod } from './adapters/schedule.ts';
import type { VantageConfig } from './config.ts';
import { combineOutcomes, isLocalTrouble } from './core/observation.ts';
import { siteNamed, type Target, targetsOf } from './core/target.ts';
import type { Events } from './events.ts';
import type { Judgement } from './judgement.ts';

/** Probes until the resources are disposed of. */
export function startProbing(
  config: VantageConfig,
  deps: { readonly clock: Clock; readonly random: Random },
  judgement: Judgement,
  events: Events,
  resources: AsyncDisposableStack,
): void {
  const { manifest } = config;
  const { clock } = deps;
  const trust = probeTrust(config.extraCa);
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
  const vantage = siteNamed(manifest, config.site)?.vantage;
  for (const target of targetsOf(manifest)) {
    if (vantage === undefined || vantage[target.family] === null) continue;
    resources.defer(everyPeriod(manifest.health.probeIntervalMs, () => void probeTarget(target), deps));
  }
}
