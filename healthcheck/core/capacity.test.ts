/**
 * Who is strained, by whose word, and when those that remain could carry the clients of one that leaves.
 */
import { describe, expect, test } from 'vitest';
import { testManifest } from '../../test/support/manifests.ts';
import { canCarry, isStrained, strainedFrom } from './capacity.ts';
import type { Verdict } from './detector.ts';
import { type Answer, answerWithAll, applyChoice, choose } from './failover.ts';
import { type Health, healthsFrom } from './quorum.ts';
import { keyOf, type TargetKey, targetsOf } from './target.ts';
import type { Vote } from './vote.ts';

const manifest = testManifest(['aws', 'gcp', 'hetzner']);

/** What a vantage says of aws; of the others that all is well. */
function vote(vantage: string, verdict: Verdict, strained: boolean): Vote {
  const dated = { vantage, bootEpoch: 1, sequence: 1, manifestVersion: 7, isolated: false, outside: false };
  return {
    ...dated,
    verdicts: targetsOf(manifest).map((target) => ({
      ...target,
      verdict: target.site === 'aws' ? verdict : 'up',
      observationsToChange: 3,
      strained: target.site === 'aws' && strained,
    })),
  };
}

function strained(...votes: readonly Vote[]): readonly string[] {
  return [...strainedFrom(votes, healthsFrom(votes, manifest), manifest)];
}

test('a sign of strain counts for two intervals', () => {
  const policy = { probeIntervalMs: 2000 };
  expect(isStrained(undefined, 5000, policy)).toBe(false);
  expect(isStrained(1000, 5000, policy)).toBe(true);
  expect(isStrained(1000, 5001, policy)).toBe(false);
});

describe('strained', () => {
  test('is who is slow for somebody, unless as many providers as withdraw it see it dead', () => {
    expect(strained(vote('gcp', 'down', true), vote('hetzner', 'down', true))).toStrictEqual(['aws/ipv4']);
    expect(strained(vote('gcp', 'down', true), vote('hetzner', 'down', false))).toStrictEqual(['aws/ipv4']);
    expect(strained(vote('gcp', 'down', false), vote('hetzner', 'down', false))).toStrictEqual([]);
  });

  test('is who is up and says that it is crowded', () => {
    expect(strained(vote('gcp', 'up', true), vote('hetzner', 'up', true))).toStrictEqual(['aws/ipv4']);
    expect(strained(vote('gcp', 'up', false), vote('hetzner', 'up', false))).toStrictEqual([]);
  });

  test('is nobody by its own word, nor by a word about another health', () => {
    expect(strained(vote('aws', 'down', true), vote('gcp', 'down', false))).toStrictEqual([]);
    const votes = [vote('gcp', 'down', false), vote('hetzner', 'down', false), vote('aws', 'up', true)];
    expect(strained(...votes)).toStrictEqual([]);
  });
});

describe('those that have room can carry', () => {
  const [aws, gcp, hetzner] = targetsOf(manifest) as [never, never, never];
  const all = [aws, gcp, hetzner];

  test('when they are half of the capacity', () => {
    expect(canCarry([gcp, hetzner], all, manifest)).toBe(true);
    expect(canCarry([hetzner], all, manifest)).toBe(false);
    expect(canCarry([gcp], [aws, gcp], manifest)).toBe(true);
    expect(canCarry([], all, manifest)).toBe(false);
  });

  test('by weight, which with priority says nothing about size', () => {
    const sites = manifest.sites.map((site) => ({ ...site, weight: site.name === 'aws' ? 90 : 5 }));
    expect(canCarry([gcp, hetzner], all, { ...manifest, sites })).toBe(false);
    expect(canCarry([aws], all, { ...manifest, sites })).toBe(true);
    expect(canCarry([gcp, hetzner], all, { sites, steering: 'priority' })).toBe(true);
  });
});

describe('the policy', () => {
  const all = answerWithAll(manifest, 1);
  const everybody = all.targets;
  const WINDOW_MS = manifest.health.withdrawalWindowMs;

  /** Whoever is not named is up. */
  function after(
    previous: Answer,
    named: Readonly<Record<string, Health>>,
    strainedTargets: readonly TargetKey[],
    nowMs = 0,
  ): { readonly answer: Answer; readonly reasons: readonly string[] } {
    const healths = new Map(
      targetsOf(manifest).map((target) => [keyOf(target), named[target.site] ?? 'up'] as const),
    );
    const now = { previous, nowMs, wallMs: 0, isolated: false, manifest };
    const choice = choose({ ...now, healths, strained: new Set(strainedTargets) });
    const applied = applyChoice(previous, choice, manifest);
    const reasons = choice.deferred.map(({ target, reason }) => `${target} ${reason}`);
    return { answer: applied.ok ? applied.value : previous, reasons };
  }

  test('lets a slow site leave while the others have room, and keeps it while they have not', () => {
    expect(after(all, { aws: 'down' }, ['aws/ipv4']).answer.targets).not.toContain('aws/ipv4');
    const full = after(all, { aws: 'down' }, everybody);
    expect(full).toStrictEqual({ answer: all, reasons: ['aws/ipv4 capacity'] });
  });

  test('withdraws one provider in a surge and not the next; one that dies leaves whatever remains', () => {
    const first = after(all, { aws: 'down' }, ['aws/ipv4']).answer;
    const both = { aws: 'down', gcp: 'down' } as const;
    expect(after(first, both, everybody, 2 * WINDOW_MS).answer).toBe(first);
    const death = after(first, both, ['hetzner/ipv4'], 2 * WINDOW_MS).answer;
    expect(death.targets).toStrictEqual(['hetzner/ipv4']);
  });

  test('goes on giving out all while those that come back are only late', () => {
    const named = { aws: 'down', gcp: 'down', hetzner: 'down' } as const;
    const open = after(all, named, []).answer;
    expect(open.failOpen).toStrictEqual(['ipv4']);
    expect(after(open, named, ['gcp/ipv4']).answer).toBe(open);
    const { targets } = after(open, { aws: 'down', hetzner: 'down' }, []).answer;
    expect(targets).toContain('gcp/ipv4');
  });

  test('gives out slow ones and not dead ones when nobody is up', () => {
    const named = { aws: 'down', gcp: 'down', hetzner: 'down' } as const;
    const { answer } = after(all, named, ['gcp/ipv4', 'hetzner/ipv4']);
    expect(answer).toMatchObject({ targets: ['gcp/ipv4', 'hetzner/ipv4'], failOpen: [] });
  });
});
