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
  /** From now on all clients together need this share of the capacity of all sites; 0: nothing. */
  setDemand(share: number): void;
  /** Whether clients bring the site more than it can carry: it serves, and answers late. */
  isSlow(site: string): boolean;
  /** What a probe that begins now sees, and how long it takes. */
  probe(vantage: string, target: Target): Probed;
  /** Delivers after a while, perhaps twice, perhaps never. */
  post(from: string, to: string, deliver: () => void): void;
  /** Since when the target is up and every probe of every vantage gets through; undefined while it is not. */
  clearSinceMs(target: Target): number | undefined;
  /** Everything works again. */
  heal(): void;
}

interface Probed {
  readonly ready: boolean;
  readonly afterMs: number;
  /** When it shows that the site is strained: with the answer, or after the deadline; undefined: it does not. */
  readonly strainedAfterMs: number | undefined;
}

/** From this part of its capacity on a site is crowded, and above all of it slow. */
const CROWDED_AT = 0.8;

/** `shareOf`: which share of all clients goes to a site, by the answers that are given out. */
export function createDnsNetwork(
  manifest: Manifest,
  time: VirtualTime,
  random: Random,
  shareOf: (site: string) => number,
): DnsNetwork {
  const { probeIntervalMs, probeTimeoutMs } = manifest.health;
  const down = new Set<TargetKey>();
  const cut = new Set<string>();
  const probeLoss = new Map<string, number>();
  const inside = new Set<string>();
  const clearSince = new Map<TargetKey, number | undefined>(
    targetsOf(manifest).map((target) => [keyOf(target), 0]),
  );
  let delayMs = 50;
  let voteLoss = 0;
  let demand = 0;
  const loadOf = (site: string): number => demand * shareOf(site) * manifest.sites.length;
  const lossy = (target: Target): boolean =>
    [...probeLoss].some(([path, loss]) => loss > 0 && path.endsWith(`>${target.site}`));
  const note = (): void => {
    for (const target of targetsOf(manifest)) {
      const clear = !down.has(keyOf(target)) && !lossy(target) && demand === 0;
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
      const failed = { ready: false, afterMs: probeTimeoutMs, strainedAfterMs: undefined };
      if (isLost) return failed;
      if (down.has(keyOf(target))) return { ...failed, afterMs: latencyMs };
      const load = loadOf(target.site);
      if (load > 1) {
        const lateMs = (probeIntervalMs - probeTimeoutMs) * random.fraction();
        return { ...failed, strainedAfterMs: probeTimeoutMs + lateMs };
      }
      return { ready: true, afterMs: latencyMs, strainedAfterMs: load > CROWDED_AT ? latencyMs : undefined };
    },
    setDemand: (share) => {
      demand = share;
      note();
    },
    isSlow: (site) => loadOf(site) > 1,
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
      demand = 0;
      note();
    },
  };
}
