/**
 * The race of October 2025 (drills.md §4.2 in the reference): a planner makes plans, three enactors check once that
 * theirs is newer, are sometimes slow, put it in force, and clean up plans that are old by then. In this model the
 * design as it was published empties the answer; the compare-and-set at the moment of applying never does.
 */
import { expect, test } from 'vitest';
import { type Answer, answerWithAll, applyChoice, type Choice } from '../../../healthcheck/core/failover.ts';
import { targetsOf } from '../../../healthcheck/core/target.ts';
import { type Random, seededRandom } from '../../../system/random.ts';
import { testManifest } from '../../support/manifests.ts';

const manifest = testManifest(['aws', 'gcp', 'hetzner']);
const FOR_MS = 20_000;
const STEP_MS = 5;
const ENACTORS = 3;
const KEPT_GENERATIONS = 3;

interface Enactment {
  readonly plan: Choice & { readonly generation: number };
  readonly applyAtMs: number;
}

interface Outcome {
  readonly emptied: boolean;
  readonly regressed: boolean;
  readonly changes: number;
}

/** Puts a plan in force; gives the generation in force afterwards. */
type Apply = (served: Answer, enactment: Enactment) => Answer;

/** Freshness was checked when the plan was picked up, and not again. */
const asPublished: Apply = (served, { plan }) => ({ ...served, ...plan });

const compareAndSet: Apply = (served, { plan }) => {
  const applied = applyChoice(served, plan, manifest);
  return applied.ok ? applied.value : served;
};

function delayMs(random: Random): number {
  return random.fraction() < 0.05 ? 1000 + random.fraction() * 3000 : 10 + random.fraction() * 110;
}

function race(seed: number, apply: Apply): Outcome {
  const random = seededRandom(seed);
  let served = answerWithAll(manifest, 1);
  let pending: readonly Enactment[] = [];
  let planned = 1;
  let nextPlanMs = 0;
  let highest = 1;
  const outcome = { emptied: false, regressed: false, changes: 0 };
  for (let nowMs = 0; nowMs < FOR_MS; nowMs += STEP_MS) {
    if (nowMs >= nextPlanMs) {
      nextPlanMs = nowMs + 200 + random.fraction() * 400;
      planned += 1;
      const out = Math.floor(random.fraction() * 4);
      const targets = targetsOf(manifest).flatMap(({ site, family }, index) =>
        index === out ? [] : [`${site}/${family}` as const],
      );
      const plan = {
        ...served,
        generation: planned,
        basedOn: served.generation,
        targets,
        deferred: [],
      };
      // Each enactor looks now whether the plan is newer than what is in force, and applies it when it gets to it.
      pending = [
        ...pending,
        ...Array.from({ length: ENACTORS }, () => ({ plan, applyAtMs: nowMs + delayMs(random) })),
      ];
    }
    for (const due of pending.filter(({ applyAtMs }) => applyAtMs <= nowMs)) {
      const before = served;
      served = apply(served, due);
      if (served !== before) outcome.changes += 1;
      if (served.generation < highest) outcome.regressed = true;
      highest = Math.max(highest, served.generation);
      // The clean-up deletes what is old by the newest plan, also when that is what is being served.
      if (apply === asPublished && served.generation < planned - KEPT_GENERATIONS) {
        served = { ...served, targets: [] };
      }
      if (served.targets.length === 0) outcome.emptied = true;
    }
    pending = pending.filter(({ applyAtMs }) => applyAtMs > nowMs);
  }
  return outcome;
}

const SEEDS = Array.from({ length: 500 }, (_, seed) => seed);

test('as it was published, the answer goes back and ends up empty', () => {
  const outcomes = SEEDS.map((seed) => race(seed, asPublished));
  expect(outcomes.filter(({ emptied }) => emptied).length).toBeGreaterThan(450);
  expect(outcomes.filter(({ regressed }) => regressed).length).toBeGreaterThan(450);
});

test('with the compare-and-set of this repository neither happens, and changes go through', () => {
  const outcomes = SEEDS.map((seed) => race(seed, compareAndSet));
  expect(outcomes.filter(({ emptied }) => emptied)).toStrictEqual([]);
  expect(outcomes.filter(({ regressed }) => regressed)).toStrictEqual([]);
  expect(Math.min(...outcomes.map(({ changes }) => changes))).toBeGreaterThan(10);
});
