/**
 * What must hold at every change of every answer, whatever happens (dns.md §5 and drills.md Q1 to Q8 in the
 * reference), reckoned independently of the code under test: from what was heard, what is true, and the answer before.
 */
import { type Manifest, vantagesOf } from '../../../fleet/manifest/manifest.ts';
import type { Answer } from '../../../healthcheck/core/failover.ts';
import { keyOf, type Target, type TargetKey, targetsOf } from '../../../healthcheck/core/target.ts';
import type { Vote } from '../../../healthcheck/core/vote.ts';
import type { VirtualTime } from '../virtual-time.ts';
import type { DnsNetwork } from './network.ts';
import type { DnsWatch, SimulatedVantage } from './vantage.ts';

export interface DnsInvariants extends DnsWatch {
  /** From now on a surge, or a site that died, is all that is wrong. */
  surging(): void;
  /** In a healed world every vantage gives out everything. */
  converged(vantage: SimulatedVantage): void;
  /** This site died alone, as long ago as it may take. */
  overdue(vantage: SimulatedVantage, site: string): void;
  violations(): readonly string[];
  figures(): Readonly<Record<string, number>>;
}

/** What is remembered of one nameserver. */
interface Remembered {
  generation: number;
  /** Withdrawals by measurement, newest last. */
  withdrawals: { readonly target: TargetKey; readonly provider: string; readonly atMs: number }[];
  /** When each vote came for the first time, in this life. */
  heardMs: WeakMap<Vote, number>;
  /** Until when caches may hold the answer in force. */
  cachedUntilMs: number;
  ttlSeconds: number | undefined;
}

/** A detector may remember a failure for so long: the longest hold-down. */
const MEMORY_MS = 80_000;
/** Withdrawals of one target by one nameserver in a whole world, at most: hold-down doubles between them. */
const WITHDRAWALS_MAX = 7;

export function createDnsInvariants(
  manifest: Manifest,
  network: DnsNetwork,
  time: VirtualTime,
  say: (what: string) => void,
): DnsInvariants {
  const { voteFreshMs, withdrawalWindowMs, probeIntervalMs, ttlMinSeconds } = manifest.health;
  const violations: string[] = [];
  const figures: Record<string, number> = {
    changes: 0,
    'sometimes: fail open': 0,
    'sometimes: a minority says down': 0,
    'sometimes: began with a saved answer': 0,
  };
  const count = (name: string): void => {
    figures[name] = (figures[name] ?? 0) + 1;
  };
  const violated = (what: string): void => {
    violations.push(`${(time.nowMs() / 1000).toFixed(3)} s: ${what}`);
    say(what);
  };
  const providerOf = new Map(vantagesOf(manifest).map(({ name, provider }) => [name, provider]));
  const providerOfTarget = (key: TargetKey): string => providerOf.get(siteOf(key)) ?? '';
  const neededFor = (key: TargetKey): number => {
    const others = new Set(providerOf.values());
    others.delete(providerOfTarget(key));
    return Math.min(2, others.size);
  };
  let isSurge = false;
  /** Sites that died in a surge, so long ago that everybody knows. */
  const gone = new Set<string>();
  const records = new Map<string, Remembered>();
  const recordOf = (name: string): Remembered => {
    const found = records.get(name) ?? {
      generation: 0,
      withdrawals: [],
      heardMs: new WeakMap(),
      cachedUntilMs: 0,
      ttlSeconds: undefined,
    };
    records.set(name, found);
    return found;
  };

  const neverEmpty = (name: string, answer: Answer): void => {
    for (const { family } of targetsOf(manifest)) {
      if (!answer.targets.some((key) => key.endsWith(family))) violated(`Q1 ${name}: no ${family} address`);
    }
  };
  const withinVelocity = (name: string, leavers: readonly TargetKey[]): void => {
    const record = recordOf(name);
    const nowMs = time.nowMs();
    for (const target of leavers) {
      const provider = providerOfTarget(target);
      const before = record.withdrawals.findLast((one) => one.provider !== provider);
      if (before !== undefined && nowMs - before.atMs < withdrawalWindowMs - 1) {
        violated(
          `Q2 ${name}: ${provider} left ${Math.round(nowMs - before.atMs)} ms after ${before.provider}`,
        );
      }
      record.withdrawals.push({ target, provider, atMs: nowMs });
      const times = record.withdrawals.filter((one) => one.target === target).length;
      if (times > WITHDRAWALS_MAX) violated(`Q6 ${name}: ${target} left ${times} times`);
    }
  };

  const capacityLeft = (name: string, leavers: readonly TargetKey[], answer: Answer): void => {
    for (const target of leavers) {
      const { family } = targetOf(target);
      const lives = network.isUp(targetOf(target));
      const all = targetsOf(manifest).filter((one) => one.family === family);
      const serving = all.filter((one) => network.isUp(one) && answer.targets.includes(keyOf(one)));
      if (lives && serving.length < all.length / 2) {
        violated(`R10 ${name}: ${target} was slow and left, and ${serving.length} of ${all.length} remain`);
      }
    }
  };

  return {
    surging: () => {
      isSurge = true;
    },
    started: ({ name }) => {
      recordOf(name).heardMs = new WeakMap();
    },
    heard: (vantage, vote) => {
      const { heardMs } = recordOf(vantage.name);
      if (!heardMs.has(vote)) heardMs.set(vote, time.nowMs());
    },
    served: ({ name }, { answer, ttlSeconds }) => {
      const record = recordOf(name);
      const nowMs = time.nowMs();
      // Until this moment the answer before was handed out, with the TTL before.
      const lastMs = record.ttlSeconds === undefined ? 0 : nowMs + record.ttlSeconds * 1000;
      record.cachedUntilMs = Math.max(record.cachedUntilMs, lastMs);
      record.ttlSeconds = ttlSeconds;
      neverEmpty(name, answer);
    },
    changed: ({ name }, { reason, answer, circumstances }) => {
      const record = recordOf(name);
      const nowMs = time.nowMs();
      count('changes');
      if (answer.generation <= record.generation) {
        violated(`Q4 ${name}: generation ${answer.generation} after ${record.generation}`);
      }
      record.generation = answer.generation;
      const staleMs = record.cachedUntilMs - nowMs;
      record.cachedUntilMs = 0;
      if (reason === 'cold_start') {
        // What the saved state had not yet heard of did not happen to whoever asks now.
        record.withdrawals = record.withdrawals.filter(({ target }) => !answer.targets.includes(target));
        if (answer.targets.length < targetsOf(manifest).length) count('sometimes: began with a saved answer');
        return;
      }
      if (answer.failOpen.length > 0) count('sometimes: fail open');
      if (staleMs > 1000 * ttlMinSeconds + 2 * probeIntervalMs + 1000) {
        violated(`TTL ${name}: caches keep the former answer for ${Math.round(staleMs)} ms`);
      }
      const heard = circumstances.votes.map((vote) => ({ vote, atMs: record.heardMs.get(vote) }));
      for (const { vote, atMs } of heard) {
        if (atMs === undefined || nowMs - atMs >= voteFreshMs)
          violated(`Q5 ${name}: a stale vote of ${vote.vantage}`);
      }
      const own = providerOf.get(name);
      const hearsOthers = heard.some(({ vote }) => providerOf.get(vote.vantage) !== own);
      if (!hearsOthers && !circumstances.own.outside)
        violated(`R1 ${name}: it changed its answer while isolated`);

      const { previous } = circumstances;
      const leavers = previous.targets.filter((key) => !answer.targets.includes(key));
      const votes = [...circumstances.votes, circumstances.own];
      for (const target of leavers) {
        const accusers = votes.filter(
          (vote) =>
            !vote.isolated &&
            providerOf.get(vote.vantage) !== providerOfTarget(target) &&
            vote.verdicts.some((one) => keyOf(one) === target && one.verdict === 'down'),
        );
        const providers = new Set(accusers.map(({ vantage }) => providerOf.get(vantage)));
        if (providers.size < neededFor(target)) {
          violated(`Q3 ${name}: ${target} left on the word of ${[...providers].join() || 'nobody'}`);
        }
        const clearMs = network.clearSinceMs(targetOf(target));
        if (clearMs === 0 || (clearMs !== undefined && nowMs - clearMs > MEMORY_MS)) {
          violated(`Q8 ${name}: ${target} left, and everybody could reach it`);
        }
      }
      withinVelocity(name, leavers);
      if (isSurge) capacityLeft(name, leavers, answer);
      const back = answer.targets.find((key) => gone.has(siteOf(key)) && !network.isUp(targetOf(key)));
      if (back !== undefined) violated(`R10 ${name}: ${back} is dead and given out again, others are slow`);
      if (votes.some((vote) => vote.verdicts.some((one) => one.verdict === 'down')) && leavers.length === 0) {
        count('sometimes: a minority says down');
      }
    },
    converged: (vantage) => {
      const answer = vantage.served()?.answer;
      const all = targetsOf(manifest).map(keyOf).join(' ');
      if (answer?.targets.join(' ') !== all || answer.failOpen.length > 0) {
        violated(`Q7 ${vantage.name}: healed, and it gives out ${answer?.targets.join(' ') ?? 'nothing'}`);
      }
    },
    overdue: (vantage, site) => {
      if (isSurge) gone.add(site);
      const targets = vantage.served()?.answer.targets ?? [];
      if (targets.some((key) => siteOf(key) === site)) {
        violated(`Q7 ${vantage.name}: ${site} is dead and still given out`);
      }
    },
    violations: () => violations,
    figures: () => figures,
  };
}

function siteOf(key: TargetKey): string {
  return key.slice(0, key.lastIndexOf('/'));
}

function targetOf(key: TargetKey): Target {
  return { site: siteOf(key), family: key.endsWith('ipv6') ? 'ipv6' : 'ipv4' };
}
