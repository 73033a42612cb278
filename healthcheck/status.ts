/**
 * What `/status` shows: everything that a person asks a nameserver when something is wrong, as one JSON object. The
 * field names are a promise to drills and to `fleet status`.
 */
import type { Manifest, OverrideState, SiteName } from '../fleet/manifest/manifest.ts';
import { overrideOf } from '../fleet/manifest/overrides.ts';
import type { CertificateStatus } from './acme/keeper.ts';
import type { Verdict } from './core/detector.ts';

import { isFrozen } from './core/override.ts';
import { type Health, siteHealth } from './core/quorum.ts';
import { warmShares } from './core/rotation.ts';
import { type Family, keyOf, type TargetKey, targetsOf } from './core/target.ts';
import { freshVotes, type Stance } from './core/vote.ts';
import type { Waiting } from './events.ts';
import { type JudgementState, sitesIn } from './judgement.ts';
import { healthOfSite } from './telling.ts';

/** What one vantage says of one site or target, and how old its word is. */
interface Said {
  readonly vantage: SiteName;
  readonly verdict: Verdict;
  readonly ageMs: number;
}

export interface VantageStatus {
  readonly site: SiteName;
  readonly zone: string;
  readonly manifestVersion: number;
  readonly generation: number;
  readonly answer: {
    readonly sites: readonly SiteName[];
    readonly targets: readonly TargetKey[];
    readonly ttlSeconds: number;
    readonly failOpen: boolean;
    /** Sites that have not yet their whole share of clients. */
    readonly warming: readonly SiteName[];
  } | null;
  readonly isolated: boolean;
  /** It reaches a canary outside the fleet. */
  readonly outside: boolean;
  /** Milliseconds since 1970; null while nothing is frozen. */
  readonly frozenUntilWallMs: number | null;
  readonly sites: readonly {
    readonly name: SiteName;
    readonly provider: string;
    readonly health: Health;
    readonly override: { readonly state: OverrideState; readonly untilWallMs: number } | null;
    /** Age of this vantage's newest observation; null before the first. */
    readonly observedAgeMs: number | null;
    readonly votes: readonly Said[];
    readonly targets: readonly {
      readonly family: Family;
      readonly health: Health;
      /** It serves, and is at its limit. */
      readonly strained: boolean;
      readonly votes: readonly Said[];
    }[];
  }[];
}

/** What a vantage says of itself beside what it judges. */
export interface VantageFacts {
  /** Why it answers nothing; null while it does. */
  readonly waiting: Waiting | null;
  readonly overrides: {
    /** Milliseconds since 1970 at which they were signed. */
    readonly sequence: number;
    /** Who signed them, by the name in the manifest. */
    readonly by: string;
  } | null;
  /** The relays of the own site that fetched the manifest of late. */
  readonly relays: {
    readonly count: number;
    /** The lowest version among them. */
    readonly manifestVersionMin: number | null;
    /** Sites that lack copies of messages, as far as any of them knows. */
    readonly lacking: readonly SiteName[];
  };
  /** Null where operators give relays their certificates. */
  readonly certificate: CertificateStatus | null;
}

export type WholeStatus = VantageStatus & VantageFacts;

/** While a vantage waits there is nothing that it judges; `manifest` is what it holds, if anything. */
export function waitingStatus(site: SiteName, manifest: Manifest | undefined): VantageStatus {
  return {
    site,
    zone: manifest?.zone ?? '',
    manifestVersion: manifest?.version ?? 0,
    generation: 0,
    answer: null,
    isolated: true,
    outside: false,
    frozenUntilWallMs: null,
    sites: [],
  };
}

/** The status at this moment; `own` is the vantage's own stance. */
export function statusOf(
  state: JudgementState,
  own: Stance,
  { nowMs, wallMs }: { readonly nowMs: number; readonly wallMs: number },
): VantageStatus {
  const { manifest, answer } = state;
  const stances = [
    ...freshVotes(state.book, nowMs, manifest).map(({ vote, arrivedMs }) => ({
      stance: vote,
      ageMs: Math.round(nowMs - arrivedMs),
    })),
    { stance: own, ageMs: 0 },
  ];
  const said = (concerns: (key: TargetKey) => boolean): readonly Said[] =>
    stances.map(({ stance, ageMs }) => ({
      vantage: stance.vantage,
      verdict: siteHealth(
        stance.verdicts.filter((one) => concerns(keyOf(one))).map(({ verdict }) => verdict),
      ),
      ageMs,
    }));
  return {
    site: own.vantage,
    zone: manifest.zone,
    manifestVersion: manifest.version,
    generation: answer?.generation ?? 0,
    answer:
      answer === undefined
        ? null
        : {
            sites: sitesIn(answer),
            targets: answer.targets,
            ttlSeconds: state.ttlSeconds,
            failOpen: answer.failOpen.length > 0,
            warming: [...warmShares(answer, manifest, nowMs).keys()],
          },
    isolated: state.isolated,
    outside: state.outside,
    frozenUntilWallMs: isFrozen(manifest, wallMs) ? manifest.overrides.frozenUntilWallMs : null,
    sites: manifest.sites.map(({ name, provider }) => ({
      name,
      provider,
      health: healthOfSite(name, state.healths),
      override: overrideShown(name, manifest, wallMs),
      observedAgeMs: observedAgeMs(name, state, nowMs),
      votes: said((key) => key.startsWith(`${name}/`)),
      targets: targetsOf(manifest)
        .filter((target) => target.site === name)
        .map((target) => ({
          family: target.family,
          health: state.healths.get(keyOf(target)) ?? 'unknown',
          strained: state.strained.has(keyOf(target)),
          votes: said((key) => key === keyOf(target)),
        })),
    })),
  };
}

function overrideShown(
  site: SiteName,
  manifest: Manifest,
  wallMs: number,
): { readonly state: OverrideState; readonly untilWallMs: number } | null {
  const override = overrideOf(site, manifest, wallMs);
  return override === undefined ? null : { state: override.state, untilWallMs: override.untilWallMs };
}

function observedAgeMs(site: SiteName, { detectors }: JudgementState, nowMs: number): number | null {
  const newest = [...detectors]
    .filter(([key]) => key.startsWith(`${site}/`))
    .flatMap(([, { newestMs }]) => (newestMs === undefined ? [] : [newestMs]));
  return newest.length === 0 ? null : Math.round(nowMs - Math.max(...newest));
}
