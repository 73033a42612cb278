/**
 * The drill on the fleet as it is: nothing is lost, and every client comes back. Each takes the better part of a minute,
 * because the waiting is the point; that drills turn red when they ought to is `drill-mutants.test.ts`.
 *
 * Bounds on time are not asserted here: a busy machine may miss them. What is asserted holds at any speed.
 */
import { describe, expect, test } from 'vitest';
import { type DrillOutcome, runDrill } from '../../fleet/drill/drill.ts';
import { whyNoNamespaces } from '../../fleet/local/namespaces.ts';
import { redisVersion } from '../../fleet/local/redis.ts';
import { DRILL_OPTIONS, DRILL_TIMEOUT_MS, drill } from '../support/drill.ts';

function valueOf(outcome: DrillOutcome, name: string): number | undefined {
  return outcome.assessment?.figures.find((figure) => figure.name === name)?.value;
}

/** What `npm run drill` takes by itself; the mutants run on the other one in any case. */
const store = redisVersion() === undefined && process.env['CI_NO_SKIP'] !== '1' ? 'memory' : 'redis';

test(`a fleet on ${store} that loses a provider loses no message, and every client comes back`, {
  timeout: DRILL_TIMEOUT_MS,
}, async () => {
  const outcome = await drill({ store, site: 'gcp', faultSeconds: 16 });
  expect(outcome.assessment?.findings).toMatchObject({
    lost: [],
    duplicates: [],
    phantom: [],
    corrupted: [],
    misdelivered: [],
  });
  expect(outcome.assessment?.blindFor).toEqual([]);
  expect(outcome.evidence?.provedMs).toBeDefined();
  expect(outcome.evidence?.lateReadersFinished).toBe(true);
  expect(valueOf(outcome, 'DNS-only, send: never back')).toBe(0);
  expect(valueOf(outcome, 'DNS-only, receive: never back')).toBe(0);
  expect(outcome.evidence?.recovery).toEqual({
    twoCopiesMs: expect.any(Number) as number,
    threeCopiesMs: expect.any(Number) as number,
    readyMs: expect.any(Number) as number,
    inEveryAnswerMs: expect.any(Number) as number,
  });
});

const noNamespaces = process.env['CI_NO_SKIP'] === '1' ? '' : whyNoNamespaces();

describe.each([
  ['wipe', store === 'redis' ? '' : 'there is no redis-server'],
  ['partial', noNamespaces],
] as const)('the fault %s', (fault, missing) => {
  test.skipIf(missing !== '')(
    `loses nothing (skipped where it cannot be caused: ${missing})`,
    {
      timeout: DRILL_TIMEOUT_MS,
    },
    async () => {
      const outcome = await drill({ store, fault, faultSeconds: 10 });
      expect(outcome.assessment?.findings).toMatchObject({ lost: [], duplicates: [], corrupted: [] });
      expect(outcome.assessment?.blindFor).toEqual([]);
      expect(outcome.evidence?.provedMs).toBeDefined();
      expect(valueOf(outcome, 'empty answers')).toBe(0);
      expect(outcome.evidence?.recovery.threeCopiesMs).toBeDefined();
    },
  );
});

test('a fault that this machine cannot cause is refused with a sentence', async () => {
  const outcome = await runDrill({ ...DRILL_OPTIONS, store: 'memory', fault: 'redis-kill' });
  expect(outcome).toMatchObject({
    result: 'refused',
    trouble: 'This machine cannot cause redis-kill: It happens to a Redis: use --store redis.',
  });
});
