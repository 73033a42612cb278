/**
 * The decision layer under seeds of faults: it holds, the same seed gives the same world, the worlds contain what
 * they are meant to contain, and rules that are wrong on purpose are noticed.
 */
import { expect, test } from 'vitest';
import { systemClock } from '../../../system/clock.ts';
import { runCampaign } from '../campaign.ts';
import { dns } from './world.ts';

const campaign = { world: dns, from: 1, clock: systemClock, progress: () => undefined };
const BUDGET_MS = 300_000;

test(
  'every invariant holds in 120 worlds, and every fault and every rare moment occurs in them',
  async () => {
    const result = await runCampaign({
      ...campaign,
      seeds: 120,
      mutant: undefined,
      isStoppedByFailure: true,
    });
    expect(result.violations).toStrictEqual([]);
    const absent = Object.entries(result.figures).filter(([, count]) => count === 0);
    expect(absent).toStrictEqual([]);
  },
  BUDGET_MS,
);

test('a seed gives the same world twice, to the last line', async () => {
  const [once, again, other] = await Promise.all(
    [7, 7, 8].map(async (seed) => dns.run({ seed, say: () => undefined })),
  );
  expect(again?.digest).toBe(once?.digest);
  expect(other?.digest).not.toBe(once?.digest);
});

test.each(Object.keys(dns.mutants))(
  'the mutant %s is caught',
  async (mutant) => {
    const result = await runCampaign({ ...campaign, seeds: 30, mutant, isStoppedByFailure: true });
    expect(result.violations).not.toStrictEqual([]);
  },
  BUDGET_MS,
);

/** Each of these seeds broke an invariant once. */
test.each([[1024, 'a generation was used twice when a crash kept the last state from the disk']])(
  'seed %i stays good: %s',
  async (seed) => {
    expect((await dns.run({ seed, say: () => undefined })).violations).toStrictEqual([]);
  },
);
