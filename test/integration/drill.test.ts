/**
 * The drill against itself: it is met by the fleet as it is, and turns red for a relay that promises too early and
 * for a vantage that never withdraws. Each takes the better part of a minute, because the waiting is the point.
 *
 * Bounds on time are not asserted here: a busy machine may miss them. What is asserted holds at any speed.
 */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type DrillOptions, type DrillOutcome, runDrill } from '../../fleet/drill/drill.ts';
import { whyNoNamespaces } from '../../fleet/local/namespaces.ts';
import { redisVersion } from '../../fleet/local/redis.ts';
import { systemClock } from '../../system/clock.ts';
import { systemRandom } from '../../system/random.ts';

const MUTANTS = join(import.meta.dirname, '../mutants');
const TIMEOUT_MS = 180_000;

const OPTIONS: DrillOptions = {
  site: 'aws',
  fault: 'kill',
  store: 'memory',
  ratePerSecond: 60,
  faultSeconds: 12,
  clock: systemClock,
  random: systemRandom,
  say: () => undefined,
  signal: new AbortController().signal,
};

async function drill(options: Partial<DrillOptions>): Promise<DrillOutcome> {
  const lines: string[] = [];
  const outcome = await runDrill({ ...OPTIONS, say: (line) => lines.push(line), ...options });
  if (outcome.assessment === undefined) throw new Error(`${outcome.trouble}\n${lines.join('\n')}`);
  return outcome;
}

function valueOf(outcome: DrillOutcome, name: string): number | undefined {
  return outcome.assessment?.figures.find((figure) => figure.name === name)?.value;
}

/** What `npm run drill` takes by itself; the mutants run on the other one in any case. */
const store = redisVersion() === undefined && process.env['CI_NO_SKIP'] !== '1' ? 'memory' : 'redis';

test(`a fleet on ${store} that loses a provider loses no message, and every client comes back`, {
  timeout: TIMEOUT_MS,
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
      timeout: TIMEOUT_MS,
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
  const outcome = await runDrill({ ...OPTIONS, store: 'memory', fault: 'redis-kill' });
  expect(outcome).toMatchObject({
    result: 'refused',
    trouble: 'This machine cannot cause redis-kill: It happens to a Redis: use --store redis.',
  });
});

describe('the drill turns red', () => {
  test('for a relay that accepts after one copy', { timeout: TIMEOUT_MS }, async () => {
    const outcome = await drill({ programs: { relay: join(MUTANTS, 'relay-accepts-one.ts') } });
    expect(outcome.result).toBe('missed');
    expect(outcome.assessment?.findings.lost).not.toEqual([]);
  });

  test('for a vantage that never withdraws', { timeout: TIMEOUT_MS }, async () => {
    // Twice the time after which the last DNS-only client has to be back: each of six senders draws a fresh address
    // every 5 s, so that all of them are lucky from 15 s to 30 s is less likely than one in a thousand.
    const vantage = join(MUTANTS, 'vantage-never-withdraws.ts');
    const outcome = await drill({ programs: { vantage }, faultSeconds: 30 });
    expect(outcome.result).toBe('missed');
    expect(outcome.assessment?.findings.lost).toEqual([]);
    expect(outcome.assessment?.reasons).toContain(
      'detection: changed answer at ns-gcp is outside its bound.',
    );
    const back = outcome.assessment?.figures.filter(
      ({ name, passed }) => name.startsWith('DNS-only') && !passed,
    );
    expect(back).not.toEqual([]);
  });
});
