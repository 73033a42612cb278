/**
 * The world of messages over some hundred seeds, and the proof that it would notice: each mutant is caught.
 */
import { expect, test } from 'vitest';
import { systemClock } from '../../../system/clock.ts';
import { type CampaignResult, describeCampaign, runCampaign } from '../campaign.ts';
import { messages } from './world.ts';

const SEEDS = 200;
const WITHIN_MS = 480_000;
/** Happens in about one run of 500: a recipient has to be away for as long as the shortest-lived message lives. */
const RARE = 'expired unread';

async function campaign(seeds: number, mutant?: string): Promise<CampaignResult> {
  return runCampaign({
    world: messages,
    from: 1,
    seeds,
    mutant,
    clock: systemClock,
    progress: () => undefined,
    isStoppedByFailure: mutant !== undefined,
  });
}

async function traceOf(seed: number): Promise<{ readonly lines: string; readonly digest: string }> {
  const lines: string[] = [];
  const { digest } = await messages.run({ seed, say: (line) => lines.push(line) });
  return { lines: lines.join('\n'), digest };
}

test('the same seed gives the same trace, byte for byte, and another seed another', async () => {
  const first = await traceOf(3);
  const again = await traceOf(3);
  expect(again.lines).toBe(first.lines);
  expect(again.digest).toBe(first.digest);
  expect((await traceOf(4)).digest).not.toBe(first.digest);
});

test(`every invariant holds in ${SEEDS} seeds, and every fault occurs`, { timeout: WITHIN_MS }, async () => {
  const result = await campaign(SEEDS);
  const command = 'npm run simulate -- messages';
  expect(result.failed, describeCampaign(result, command).join('\n')).toEqual([]);
  const never = Object.entries(result.figures).filter(([name, count]) => count === 0 && name !== RARE);
  expect(never, 'what never happens is not tested').toEqual([]);
});

for (const [mutant, wrong] of Object.entries(messages.mutants)) {
  test(`it is noticed within 1,000 seeds that ${wrong}`, { timeout: WITHIN_MS }, async ({ annotate }) => {
    const result = await campaign(1000, mutant);
    expect(result.failed).toHaveLength(1);
    await annotate(`${mutant}: caught at seed ${result.failed[0]}: ${result.violations[0]}`);
  });
}
