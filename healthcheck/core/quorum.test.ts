/**
 * Who may say that a site is down, and how many it takes.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { testManifest } from '../../test/support/manifests.ts';
import type { Verdict } from './detector.ts';
import {
  type Ballot,
  ballotsOn,
  healthFrom,
  healthsFrom,
  isIsolated,
  observationsUntil,
  providersNeeded,
  siteHealth,
} from './quorum.ts';
import { targetsOf } from './target.ts';
import type { Vote } from './vote.ts';

const manifest = testManifest(['aws', 'gcp', 'hetzner']);

function vote(vantage: string, verdicts: Readonly<Record<string, Verdict>>, isolated = false): Vote {
  return {
    vantage,
    bootEpoch: 1,
    sequence: 1,
    manifestVersion: 7,
    isolated,
    outside: false,
    verdicts: targetsOf(manifest).map((target) => ({
      ...target,
      verdict: verdicts[target.site] ?? 'up',
      observationsToChange: 3,
      strained: false,
    })),
  };
}

function health(site: string, votes: readonly Vote[], among = manifest): Verdict {
  const target = { site, family: 'ipv4' as const };
  return healthFrom(ballotsOn(target, votes, among), providersNeeded(target, among));
}

function ballot(provider: string, verdict: Verdict, observations = 3, outside = false): Ballot {
  return { provider, verdict, observationsToChange: observations, strained: false, outside };
}

describe('down', () => {
  test('two vantages of other providers withdraw a site', () => {
    expect(health('aws', [vote('gcp', { aws: 'down' }), vote('hetzner', { aws: 'down' })])).toBe('down');
  });

  test('one vantage alone withdraws nobody, whatever its own provider says', () => {
    expect(health('aws', [vote('aws', { aws: 'down' }), vote('gcp', { aws: 'down' })])).toBe('unknown');
    expect(health('aws', [vote('gcp', { aws: 'down' }), vote('hetzner', { aws: 'up' })])).toBe('unknown');
  });

  test('a vantage has no say on its own provider, so it cannot hide its own failure', () => {
    const votes = [
      vote('aws', { aws: 'up' }),
      vote('gcp', { aws: 'down' }),
      vote('hetzner', { aws: 'down' }),
    ];
    expect(health('aws', votes)).toBe('down');
  });

  test('two vantages of one provider are one provider', () => {
    const larger = testManifest(['aws', 'gcp', 'gcp-2', 'hetzner']);
    const target = { site: 'aws', family: 'ipv4' as const };
    const ballots = [ballot('gcp', 'down'), ballot('gcp', 'down')];
    expect(healthFrom(ballots, providersNeeded(target, larger))).toBe('unknown');
    expect(healthFrom([...ballots, ballot('hetzner', 'down')], providersNeeded(target, larger))).toBe('down');
  });

  test('downs must outnumber ups', () => {
    const split = [ballot('a', 'down'), ballot('b', 'down'), ballot('c', 'up'), ballot('d', 'up')];
    expect(healthFrom(split, 2)).toBe('unknown');
    expect(healthFrom([...split, ballot('e', 'down')], 2)).toBe('down');
  });

  test('with only one other provider in the manifest, its vantage suffices while it reaches the outside', () => {
    const two = testManifest(['aws', 'gcp']);
    expect(providersNeeded({ site: 'aws', family: 'ipv4' }, two)).toBe(1);
    expect(healthFrom([ballot('gcp', 'down', 3, true)], 1)).toBe('down');
    expect(healthFrom([ballot('gcp', 'down', 3, false)], 1)).toBe('unknown');
  });

  test('a witness at a third provider makes it two again, and nobody judges a witness', () => {
    const watched = testManifest(['aws', 'gcp'], { witnesses: ['ovh'] });
    expect(providersNeeded({ site: 'aws', family: 'ipv4' }, watched)).toBe(2);
    expect(health('aws', [vote('gcp', { aws: 'down' })], watched)).toBe('unknown');
    expect(health('aws', [vote('gcp', { aws: 'down' }), vote('ovh', { aws: 'down' })], watched)).toBe('down');
    expect(isIsolated('aws', [vote('ovh', {})], watched, false)).toBe(false);
    expect([...healthsFrom([], watched).keys()]).toStrictEqual(['aws/ipv4', 'gcp/ipv4']);
  });
});

describe('up and unknown', () => {
  test('more ups than downs are up; a tie and silence are unknown', () => {
    expect(healthFrom([ballot('a', 'up')], 2)).toBe('up');
    expect(healthFrom([ballot('a', 'up'), ballot('b', 'down')], 2)).toBe('unknown');
    expect(healthFrom([ballot('a', 'unknown'), ballot('b', 'unknown')], 2)).toBe('unknown');
    expect(healthFrom([], 2)).toBe('unknown');
  });

  test('what an isolated vantage says is unknown', () => {
    const votes = [vote('gcp', { aws: 'down' }, true), vote('hetzner', { aws: 'down' })];
    expect(health('aws', votes)).toBe('unknown');
  });

  test('a site is down when every family it publishes is, and up when one is', () => {
    expect(siteHealth(['down', 'down'])).toBe('down');
    expect(siteHealth(['down', 'up'])).toBe('up');
    expect(siteHealth(['down', 'unknown'])).toBe('unknown');
    expect(siteHealth([])).toBe('unknown');
  });
});

test('one liar among three never makes a healthy site down, nor a dead one up while the other looks', () => {
  fc.assert(
    fc.property(fc.constantFrom<Verdict>('up', 'down', 'unknown'), (lie) => {
      expect(health('aws', [vote('gcp', { aws: lie }), vote('hetzner', { aws: 'up' })])).not.toBe('down');
      expect(health('aws', [vote('gcp', { aws: lie }), vote('hetzner', { aws: 'down' })])).not.toBe('up');
    }),
  );
});

describe('isolation', () => {
  test('a vantage is isolated when no other provider is heard', () => {
    expect(isIsolated('aws', [], manifest, false)).toBe(true);
    expect(isIsolated('aws', [vote('gcp', {})], manifest, false)).toBe(false);
    expect(isIsolated('aws', [], manifest, true)).toBe(false);
  });

  test('a second site of the own provider does not end isolation', () => {
    const larger = testManifest(['aws', 'aws-2', 'gcp']);
    expect(isIsolated('aws', [vote('aws-2', {})], larger, false)).toBe(true);
  });
});

describe('the earliest change', () => {
  test('it takes the second of two vantages', () => {
    expect(observationsUntil('down', [ballot('a', 'up', 1), ballot('b', 'up', 3)], 2)).toBe(3);
  });

  test('it takes only the last one still missing', () => {
    expect(observationsUntil('down', [ballot('a', 'down', 30), ballot('b', 'up', 2)], 2)).toBe(2);
  });

  test('what is so already takes nothing, and what can never be never comes', () => {
    expect(observationsUntil('down', [ballot('a', 'down'), ballot('b', 'down')], 2)).toBe(0);
    expect(observationsUntil('down', [ballot('a', 'up')], 2)).toBe(Number.POSITIVE_INFINITY);
  });

  test('no subset of vantages could change the health sooner', () => {
    const anyBallots = fc.array(
      fc.record({
        provider: fc.constantFrom('a', 'b', 'c', 'd'),
        verdict: fc.constantFrom<Verdict>('up', 'down', 'unknown'),
        observationsToChange: fc.integer({ min: 1, max: 9 }),
        strained: fc.constant(false),
        outside: fc.boolean(),
      }),
      { maxLength: 6 },
    );
    fc.assert(
      fc.property(anyBallots, fc.constantFrom('up' as const, 'down' as const), (ballots, wanted) => {
        const claimed = observationsUntil(wanted, ballots, 2);
        for (let within = 0; within < Math.min(claimed, 10); within += 1) {
          const movable = ballots.map((one) => one.observationsToChange <= within);
          const turned = ballots.map((one, index) =>
            movable[index] === true ? { ...one, verdict: wanted } : one,
          );
          expect(healthFrom(turned, 2)).not.toBe(wanted);
        }
      }),
    );
  });
});
