/**
 * What is true in a world of the decision layer, and what of it can be seen from where: sites that are up or down
 * per family, paths that are cut or lose, and a reach to the world outside. It remembers when anything was last
 * disturbed, so that invariants can tell a false withdrawal from an honest mistake.
 */
import type { Manifest } from '../../../fleet/manifest/manifest.ts';
import { keyOf, type Target, type TargetKey, targetsOf } from '../../../healthcheck/core/target.ts';
import type { Random } from '../../../system/random.ts';
import type { VirtualTime } from '../virtual-time.ts';

export interface DnsNetwork {
  setUp(target: Target, up: boolean): void;
  isUp(target: Target): boolean;
  /** Cuts what one vantage sends to the other, or mends it. */
  setVotePath(from: string, to: string, open: boolean): void;
  /** What part of the probes from a vantage to a site fails; 1 cuts the path. */
  setProbeLoss(vantage: string, site: string, loss: number): void;
  setOutside(vantage: string, reached: boolean): void;
  reachesOutside(vantage: string): boolean;
  /** Longest delay of a vote, milliseconds; reordering follows from it. */
  setDelay(ms: number): void;
  /** What part of the votes is lost. */
  setVoteLoss(loss: number): void;
  /** What a probe that begins now sees, and how long it takes. */
  probe(vantage: string, target: Target): { readonly ready: boolean; readonly afterMs: number };
  /** Delivers after a while, perhaps twice, perhaps never. */
  post(from: string, to: string, deliver: () => void): void;
  /** Since when the target is up and every probe of every vantage gets through; undefined while it is not. */
  clearSinceMs(target: Target): number | undefined;
  /** Everything works again. */
  heal(): void;
}

export function createDnsNetwork(manifest: Manifest, time: VirtualTime, random: Random): DnsNetwork {
  const { probeTimeoutMs } = manifest.health;
  const down = new Set<TargetKey>();
  const cut = new Set<string>();
  const probeLoss = new Map<string, number>();
  const inside = new Set<string>();
  const clearSince = new Map<TargetKey, number | undefined>(
    targetsOf(manifest).map((target) => [keyOf(target), 0]),
  );
  let delayMs = 50;
  let voteLoss = 0;
  const lossy = (target: Target): boolean =>
    [...probeLoss].some(([path, loss]) => loss > 0 && path.endsWith(`>${target.site}`));
  const note = (): void => {
    for (const target of targetsOf(manifest)) {
      const clear = !down.has(keyOf(target)) && !lossy(target);
      if (!clear) clearSince.set(keyOf(target), undefined);
      else if (clearSince.get(keyOf(target)) === undefined) clearSince.set(keyOf(target), time.nowMs());
    }
  };
  return {
    setUp: (target, up) => {
      if (up) down.delete(keyOf(target));
      else down.add(keyOf(target));
      note();
    },
    isUp: (target) => !down.has(keyOf(target)),
    setVotePath: (from, to, open) => {
      if (open) cut.delete(`${from}>${to}`);
      else cut.add(`${from}>${to}`);
    },
    setProbeLoss: (vantage, site, loss) => {
      probeLoss.set(`${vantage}>${site}`, loss);
      note();
    },
    setOutside: (vantage, reached) => {
      if (reached) inside.delete(vantage);
      else inside.add(vantage);
    },
    reachesOutside: (vantage) => manifest.externalCanaries.length > 0 && !inside.has(vantage),
    setDelay: (ms) => {
      delayMs = ms;
    },
    setVoteLoss: (loss) => {
      voteLoss = loss;
    },
    probe: (vantage, target) => {
      const isLost = random.fraction() < (probeLoss.get(`${vantage}>${target.site}`) ?? 0);
      const latencyMs = random.fraction() * 0.4 * probeTimeoutMs;
      if (isLost) return { ready: false, afterMs: probeTimeoutMs };
      return { ready: !down.has(keyOf(target)), afterMs: latencyMs };
    },
    post: (from, to, deliver) => {
      const copies = random.fraction() < voteLoss ? 0 : random.fraction() < 0.02 ? 2 : 1;
      for (let copy = 0; copy < copies; copy += 1) {
        time.after(random.fraction() * delayMs, () => {
          if (!cut.has(`${from}>${to}`)) deliver();
        });
      }
    },
    clearSinceMs: (target) => clearSince.get(keyOf(target)),
    heal: () => {
      down.clear();
      cut.clear();
      probeLoss.clear();
      inside.clear();
      delayMs = 50;
      voteLoss = 0;
      note();
    },
  };
}
