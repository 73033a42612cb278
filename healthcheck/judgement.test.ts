/**
 * Several vantages' judgements in one process on a clock that is moved by hand: the whole chain from observations to
 * answers, with partitions and a liar, and its timing.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Manifest } from '../fleet/manifest/manifest.ts';
import { createLog } from '../system/log.ts';
import { createMetrics } from '../system/metrics.ts';
import { testManifest } from '../test/support/manifests.ts';
import { createManualClock, type ManualClock } from '../test/support/manual-clock.ts';
import { RULES } from './core/decision.ts';
import type { Verdict } from './core/detector.ts';
import { type Answer, answerWithAll } from './core/failover.ts';
import { targetsOf } from './core/target.ts';
import { createEvents } from './events.ts';
import { registerGauges } from './gauges.ts';
import { createJudgement, type Judgement, type Served, sitesIn } from './judgement.ts';
import { statusOf } from './status.ts';

interface Vantage {
  readonly judgement: Judgement;
  readonly lines: readonly Record<string, unknown>[];
  answer(): Answer;
  ttlSeconds(): number;
}

interface World {
  readonly clock: ManualClock;
  readonly manifest: Manifest;
  readonly vantages: ReadonlyMap<string, Vantage>;
  /** Sites whose relays fail every probe. */
  readonly dead: Set<string>;
  /** Vantages that neither send nor receive votes. */
  readonly cut: Set<string>;
  /** Vantages that vote this about every site, whatever they see. */
  readonly lies: Map<string, () => Verdict>;
  /** Lets time pass: probes and votes at their periods. */
  run(ms: number): void;
  sites(vantage: string): string;
}

const names = ['aws', 'gcp', 'hetzner'];

function createWorld(manifest: Manifest = testManifest(names)): World {
  const clock = createManualClock();
  const dead = new Set<string>();
  const cut = new Set<string>();
  const lies = new Map<string, () => Verdict>();
  const vantages = new Map<string, Vantage>(
    manifest.sites.map((site) => [site.name, createVantage(site.name, manifest, clock)]),
  );
  let sequence = 0;
  const post = (from: string, { judgement }: Vantage): void => {
    if (cut.has(from)) return;
    sequence += 1;
    const stance = judgement.stance();
    const lie = lies.get(from);
    const told =
      lie === undefined
        ? stance
        : {
            ...stance,
            isolated: false,
            verdicts: stance.verdicts.map((one) => ({ ...one, verdict: lie() })),
          };
    for (const [to, other] of vantages) {
      if (to !== from && !cut.has(to)) other.judgement.receive({ ...told, bootEpoch: 1, sequence }, 'signed');
    }
  };
  const stepMs = manifest.health.probeIntervalMs / 2;
  let turn = 0;
  const step = (): void => {
    clock.advance(stepMs);
    turn += 1;
    for (const [name, vantage] of vantages) {
      if (turn % 2 === 0) {
        for (const target of targetsOf(manifest)) vantage.judgement.observe(target, !dead.has(target.site));
      }
      post(name, vantage);
    }
    for (const vantage of vantages.values()) vantage.judgement.evaluate();
  };
  for (const vantage of vantages.values()) vantage.judgement.begin(answerWithAll(manifest, 1), 'all_sites');
  return {
    clock,
    manifest,
    vantages,
    dead,
    cut,
    lies,
    run: (ms) => {
      for (let passedMs = 0; passedMs < ms; passedMs += stepMs) step();
    },
    sites: (vantage) => {
      const found = vantages.get(vantage);
      return found === undefined ? '' : sitesIn(found.answer()).join();
    },
  };
}

function createVantage(self: string, manifest: Manifest, clock: ManualClock): Vantage {
  const lines: Record<string, unknown>[] = [];
  const write = (line: string): void => {
    lines.push(JSON.parse(line) as Record<string, unknown>);
  };
  const log = createLog({ clock, base: {}, level: 'info', write });
  let served: Served | undefined;
  const judgement = createJudgement({
    manifest,
    self,
    rules: RULES,
    clock,
    events: createEvents(log, createMetrics('vantage_'), clock),
    serve: (now) => {
      served = now;
    },
    stanceChanged: () => undefined,
    decided: () => undefined,
  });
  return {
    judgement,
    lines,
    answer: () => served?.answer ?? expect.unreachable('nothing is served'),
    ttlSeconds: () => served?.ttlSeconds ?? Number.NaN,
  };
}

/** A world that has looked for long enough to know that all is well. */
function settledWorld(manifest?: Manifest): World {
  const world = createWorld(manifest);
  world.run(60_000);
  return world;
}

test('a dead site leaves every answer within the time that the documentation promises', () => {
  const world = settledWorld();
  const { probeIntervalMs, probeTimeoutMs, downAfter } = world.manifest.health;
  world.dead.add('gcp');
  // One interval until the first failed probe, the others after it, and half an interval for votes; probes fail at once here.
  world.run(probeIntervalMs + (downAfter - 1) * probeIntervalMs + probeTimeoutMs);
  for (const name of names) expect(world.sites(name)).toBe('aws,hetzner');
});

test('a site that returns is given out again after upAfter successes, by all', () => {
  const world = settledWorld();
  world.dead.add('gcp');
  world.run(10_000);
  world.dead.delete('gcp');
  world.run((world.manifest.health.upAfter - 1) * world.manifest.health.probeIntervalMs);
  expect(world.sites('aws')).toBe('aws,hetzner');
  world.run(2 * world.manifest.health.probeIntervalMs);
  for (const name of names) expect(world.sites(name)).toBe('aws,gcp,hetzner');
});

test('an answer, its change and its reason are told in the words that drills read', () => {
  const world = settledWorld();
  world.dead.add('gcp');
  world.run(10_000);
  const lines = world.vantages.get('aws')?.lines ?? [];
  expect(lines.filter((line) => line['event'] === 'answer').at(-1)).toMatchObject({
    generation: 2,
    sites: 'aws,hetzner',
    ttlSeconds: expect.any(Number),
    failOpen: false,
    reason: 'withdrawn',
  });
  expect(lines.findLast((line) => line['event'] === 'verdict')).toMatchObject({
    target: 'gcp',
    family: 'ipv4',
    verdict: 'down',
  });
  expect(lines.findLast((line) => line['event'] === 'health')).toMatchObject({
    target: 'gcp',
    health: 'down',
  });
  expect(lines.find((line) => line['event'] === 'isolated')).toMatchObject({ isolated: false });
});

describe('a vantage that is cut off', () => {
  test('keeps its answer at the shortest TTL and votes unknown', () => {
    const world = settledWorld();
    world.cut.add('aws');
    world.dead.add('gcp');
    world.dead.add('hetzner');
    world.run(120_000);
    const aws = world.vantages.get('aws');
    expect(world.sites('aws')).toBe('aws,gcp,hetzner');
    expect(aws?.ttlSeconds()).toBe(world.manifest.health.ttlMinSeconds);
    expect(aws?.judgement.stance()).toMatchObject({ isolated: true });
    expect(new Set(aws?.judgement.stance().verdicts.map(({ verdict }) => verdict))).toStrictEqual(
      new Set(['unknown']),
    );
  });

  test('agrees with the others again after the cut has healed', () => {
    const world = settledWorld();
    world.cut.add('aws');
    world.run(20_000);
    world.cut.delete('aws');
    world.dead.add('gcp');
    world.run(10_000);
    expect(world.sites('aws')).toBe('aws,hetzner');
  });

  test('its former votes stop counting after voteFreshMs', () => {
    const world = settledWorld();
    world.dead.add('gcp');
    world.cut.add('hetzner');
    world.run(60_000);
    // Only aws may still judge gcp, and one is not enough.
    expect(world.sites('aws')).toBe('aws,gcp,hetzner');
  });
});

test('all sites dead: all are given out, loudly, and one that returns is alone again at once or after the window', () => {
  const world = settledWorld();
  for (const name of names) world.dead.add(name);
  world.run(20_000);
  const aws = world.vantages.get('aws');
  expect(world.sites('aws')).toBe('aws,gcp,hetzner');
  expect(aws?.answer().failOpen).toStrictEqual(['ipv4']);
  expect(aws?.lines.findLast((line) => line['event'] === 'answer')).toMatchObject({
    level: 'error',
    failOpen: true,
  });
});

test('the TTL shrinks as failures are seen, never below the minimum', () => {
  const world = settledWorld(testManifest(names, { policy: { ttlMinSeconds: 1, downAfter: 5 } }));
  const ttl = (): number => world.vantages.get('aws')?.ttlSeconds() ?? Number.NaN;
  const seen = [ttl()];
  world.dead.add('gcp');
  for (let turn = 0; turn < 4; turn += 1) {
    world.run(2000);
    seen.push(ttl());
  }
  expect(seen).toStrictEqual([10, 8, 6, 4, 2]);
});

test('a liar among three withdraws nobody', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...names),
      fc.infiniteStream(fc.constantFrom<Verdict>('up', 'down', 'unknown')),
      (liar, stream) => {
        const world = settledWorld();
        world.lies.set(liar, () => stream.next().value ?? 'down');
        world.run(120_000);
        for (const name of names) expect(world.sites(name)).toBe('aws,gcp,hetzner');
      },
    ),
    { numRuns: 15 },
  );
});

test('a site that flaps for ever moves the answer ever more rarely', () => {
  const world = settledWorld();
  for (let turn = 0; turn < 60; turn += 1) {
    world.dead.add('gcp');
    world.run(8000);
    world.dead.delete('gcp');
    world.run(22_000);
  }
  const changes = (world.vantages.get('aws')?.answer().generation ?? 0) - 1;
  expect(changes).toBeGreaterThan(0);
  expect(changes).toBeLessThanOrEqual(4);
});

test('status shows who says what', () => {
  const world = settledWorld();
  world.dead.add('gcp');
  world.run(10_000);
  const judgement = world.vantages.get('aws')?.judgement ?? expect.unreachable();
  const status = statusOf(judgement.state(), judgement.stance(), {
    nowMs: world.clock.monotonicMs(),
    wallMs: world.clock.wallMs(),
  });
  const votes = [
    { vantage: 'gcp', verdict: 'down', ageMs: 0 },
    { vantage: 'hetzner', verdict: 'down', ageMs: 0 },
    { vantage: 'aws', verdict: 'down', ageMs: 0 },
  ];
  expect(status).toMatchObject({ site: 'aws', generation: 2, frozenUntilWallMs: null, isolated: false });
  expect(status.sites.find((site) => site.name === 'gcp')).toStrictEqual({
    name: 'gcp',
    provider: 'gcp',
    health: 'down',
    override: null,
    observedAgeMs: 0,
    votes,
    targets: [{ family: 'ipv4', health: 'down', strained: false, votes }],
  });
});

test('metrics show who says what, how old that is, and where vantages disagree', async () => {
  const world = settledWorld();
  const judgement = world.vantages.get('aws')?.judgement ?? expect.unreachable();
  const metrics = createMetrics('vantage_');
  registerGauges(metrics, () => judgement, world.clock);
  world.lies.set('hetzner', () => 'down');
  world.run(4000);
  const text = await metrics.text();
  for (const line of [
    'vantage_verdict{target="gcp/ipv4",vantage="aws"} 1',
    'vantage_verdict{target="gcp/ipv4",vantage="hetzner"} -1',
    'vantage_verdict_flips{target="gcp/ipv4",vantage="hetzner"} 2',
    'vantage_vote_age_seconds{vantage="hetzner"} 0',
    'vantage_health{target="gcp/ipv4"} 0',
    'vantage_disagreement{target="gcp/ipv4"} 1',
    // Only gcp's word about aws counts beside the liar's.
    'vantage_disagreement{target="aws/ipv4"} 1',
    'vantage_disagreement{target="hetzner/ipv4"} 0',
  ]) {
    expect(text).toContain(`${line}\n`);
  }
});
