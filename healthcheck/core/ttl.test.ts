/**
 * The computed TTL: a cached answer must not outlive the earliest moment at which it could change.
 */
import { expect, test } from 'vitest';
import { testManifest } from '../../test/support/manifests.ts';
import type { Verdict } from './detector.ts';
import { type Answer, answerWithAll, type Deferred } from './failover.ts';
import { targetsOf } from './target.ts';
import { ttlSeconds } from './ttl.ts';
import type { Vote } from './vote.ts';

const manifest = testManifest(['aws', 'gcp', 'hetzner'], {
  policy: { ttlMinSeconds: 2, probeIntervalMs: 3000 },
});
const all = answerWithAll(manifest, 1);

/** A vote that says the same of every site, this many observations before it could say otherwise. */
function vote(vantage: string, observationsToChange: number, verdict: Verdict = 'up'): Vote {
  return {
    vantage,
    bootEpoch: 1,
    sequence: 1,
    manifestVersion: 7,
    isolated: false,
    outside: false,
    verdicts: targetsOf(manifest).map((target) => ({
      ...target,
      verdict,
      observationsToChange,
      strained: false,
    })),
  };
}

function ttl(
  votes: readonly Vote[],
  {
    answer = all,
    isolated = false,
    deferred = [],
  }: { answer?: Answer; isolated?: boolean; deferred?: Deferred[] } = {},
): number {
  return ttlSeconds({ answer, votes, deferred, isolated, nowMs: 10_000, wallMs: 0, manifest });
}

test('while all is well it is the time that two vantages need to find a failure', () => {
  expect(ttl([vote('aws', 3), vote('gcp', 3), vote('hetzner', 3)])).toBe(9);
});

test('it shrinks as a second vantage sees failures, and not with one alone', () => {
  expect(ttl([vote('aws', 3), vote('gcp', 1), vote('hetzner', 3)])).toBe(9);
  expect(ttl([vote('aws', 3), vote('gcp', 1), vote('hetzner', 2)])).toBe(6);
  expect(ttl([vote('aws', 3), vote('gcp', 1), vote('hetzner', 1)])).toBe(3);
});

test('it never leaves the bounds of the policy', () => {
  const slow = { ...manifest, health: { ...manifest.health, probeIntervalMs: 100 } };
  const input = {
    answer: all,
    votes: [vote('aws', 1), vote('gcp', 1)],
    deferred: [],
    isolated: false,
    nowMs: 0,
    wallMs: 0,
  };
  expect(ttlSeconds({ ...input, manifest: slow })).toBe(2);
  expect(ttl([vote('aws', 1000), vote('gcp', 1000), vote('hetzner', 1000)])).toBe(60);
});

test('whoever is not heard may be heard again at any moment, with anything', () => {
  expect(ttl([])).toBe(2);
  expect(ttl([vote('aws', 3), vote('hetzner', 3)])).toBe(9);
});

test('while the fleet is frozen it is the longest, and ends with the freeze', () => {
  const frozen = (frozenUntilWallMs: number): number =>
    ttlSeconds({
      answer: all,
      votes: [vote('aws', 1), vote('gcp', 1), vote('hetzner', 1)],
      deferred: [],
      isolated: false,
      nowMs: 0,
      wallMs: 0,
      manifest: { ...manifest, overrides: { sites: [], frozenUntilWallMs } },
    });
  expect(frozen(3_600_000)).toBe(60);
  expect(frozen(20_000)).toBe(20);
});

test('an override that ends soon is a change', () => {
  const sites = [{ site: 'aws', state: 'drained' as const, untilWallMs: 7000 }];
  const drained = { ...manifest, overrides: { sites, frozenUntilWallMs: null } };
  const votes = [vote('aws', 9), vote('gcp', 9), vote('hetzner', 9)];
  const input = { answer: all, votes, deferred: [], isolated: false, nowMs: 0, wallMs: 0 };
  expect(ttlSeconds({ ...input, manifest: drained })).toBe(7);
  expect(ttlSeconds({ ...input, wallMs: 7000, manifest: drained })).toBe(27);
});

test('while the vantage is isolated it is the shortest', () => {
  expect(ttl([vote('aws', 1000), vote('gcp', 1000)], { isolated: true })).toBe(2);
});

test('a site that could return counts as a change', () => {
  const without: Answer = { ...all, targets: ['gcp/ipv4', 'hetzner/ipv4'] };
  const accusing = (vantage: string): Vote => {
    const said = vote(vantage, 15);
    const verdicts = said.verdicts.map((one) =>
      one.site === 'aws' ? { ...one, verdict: 'down' as const } : one,
    );
    return { ...said, verdicts };
  };
  const votes = [vote('aws', 20), accusing('gcp'), accusing('hetzner')];
  expect(ttl(votes)).toBe(2);
  expect(ttl(votes, { answer: without })).toBe(45);
});

test('a withdrawal that waits for the window counts as a change at its end', () => {
  const answer: Answer = { ...all, lastWithdrawal: { provider: 'aws', atMs: 0 } };
  const deferred: Deferred[] = all.targets.map((target) => ({ target, reason: 'withdrawal_window' }));
  expect(ttl([], { answer, deferred })).toBe((manifest.health.withdrawalWindowMs - 10_000) / 1000);
});
