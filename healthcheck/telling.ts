/**
 * What a judgement tells, each change once: verdicts, healths, answers, deferrals, and how long a failover took.
 */
import type { Manifest, SiteName } from '../fleet/manifest/manifest.ts';
import type { AnswerReason } from './core/decision.ts';
import { type Detector, NEW_DETECTOR, type Verdict, verdictAt } from './core/detector.ts';
import type { Answer, Deferred } from './core/failover.ts';
import { type Health, siteHealth } from './core/quorum.ts';
import { keyOf, type TargetKey, targetsOf } from './core/target.ts';
import type { Events } from './events.ts';

export interface Telling {
  verdicts(manifest: Manifest, detectors: ReadonlyMap<TargetKey, Detector>, nowMs: number): void;
  healths(healths: ReadonlyMap<TargetKey, Health>, manifest: Manifest): void;
  answer(answer: Answer, ttlSeconds: number, reason: AnswerReason): void;
  /** How long ago the first failure was that led to each withdrawal in this change. */
  failedOver(before: Answer, after: Answer, detectors: ReadonlyMap<TargetKey, Detector>, nowMs: number): void;
  ttl(ttlSeconds: number): void;
  frozen(frozen: boolean): void;
  deferrals(deferred: readonly Deferred[]): void;
}

/** A telling that has told nothing yet. */
export function createTelling(events: Events): Telling {
  const verdicts = new Map<TargetKey, Verdict>();
  const healths = new Map<SiteName, Health>();
  let deferrals: ReadonlySet<string> = new Set();
  let ttl: number | undefined;
  let frozen = false;
  return {
    verdicts: (manifest, detectors, nowMs) => {
      for (const target of targetsOf(manifest)) {
        const key = keyOf(target);
        // What it sees, also while it is isolated and votes unknown.
        const verdict = verdictAt(detectors.get(key) ?? NEW_DETECTOR, nowMs, manifest.health);
        if ((verdicts.get(key) ?? 'unknown') === verdict) continue;
        verdicts.set(key, verdict);
        events.verdictChanged(target, verdict);
      }
    },
    healths: (now, manifest) => {
      for (const { name } of manifest.sites) {
        const health = healthOfSite(name, now);
        if ((healths.get(name) ?? 'unknown') === health) continue;
        healths.set(name, health);
        events.healthChanged(name, health);
      }
    },
    answer: (answer, ttlSeconds, reason) => {
      const sites = [...new Set(answer.targets.map((target) => target.slice(0, target.lastIndexOf('/'))))];
      const failOpen = answer.failOpen.length > 0;
      events.answerChanged({ generation: answer.generation, sites, ttlSeconds, failOpen, reason });
    },
    failedOver: (before, after, detectors, nowMs) => {
      for (const target of before.targets.filter((key) => !after.targets.includes(key))) {
        const since = detectors.get(target)?.failingSinceMs;
        if (since !== undefined) events.failedOver((nowMs - since) / 1000);
      }
    },
    ttl: (seconds) => {
      if (ttl !== undefined && ttl !== seconds) events.ttlChanged(seconds);
      ttl = seconds;
    },
    frozen: (now) => {
      if (now !== frozen) events.frozenChanged(now);
      frozen = now;
    },
    deferrals: (deferred) => {
      for (const one of deferred) {
        if (!deferrals.has(`${one.target} ${one.reason}`)) events.withdrawalDeferred(one);
      }
      deferrals = new Set(deferred.map(({ target, reason }) => `${target} ${reason}`));
    },
  };
}

/** The health of a site from those of its targets. */
export function healthOfSite(site: SiteName, healths: ReadonlyMap<TargetKey, Health>): Health {
  return siteHealth([...healths].filter(([key]) => key.startsWith(`${site}/`)).map(([, health]) => health));
}
