/**
 * The drill against itself: it turns red for a relay that promises too early and for a vantage that never withdraws.
 */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { DRILL_TIMEOUT_MS, drill } from '../support/drill.ts';

const MUTANTS = join(import.meta.dirname, '../mutants');

test('the drill turns red for a relay that accepts after one copy', {
  timeout: DRILL_TIMEOUT_MS,
}, async () => {
  const outcome = await drill({ programs: { relay: join(MUTANTS, 'relay-accepts-one.ts') } });
  expect(outcome.result).toBe('missed');
  expect(outcome.assessment?.findings.lost).not.toEqual([]);
});

test('the drill turns red for a vantage that never withdraws', { timeout: DRILL_TIMEOUT_MS }, async () => {
  // Twice the time after which the last DNS-only client has to be back: each of six senders draws a fresh address
  // every 5 s, so that all of them are lucky from 15 s to 30 s is less likely than one in a thousand.
  const vantage = join(MUTANTS, 'vantage-never-withdraws.ts');
  const outcome = await drill({ programs: { vantage }, faultSeconds: 30 });
  expect(outcome.result).toBe('missed');
  expect(outcome.assessment?.findings.lost).toEqual([]);
  expect(outcome.assessment?.reasons).toContain('detection: changed answer at ns-gcp is outside its bound.');
  const back = outcome.assessment?.figures.filter(
    ({ name, passed }) => name.startsWith('DNS-only') && !passed,
  );
  expect(back).not.toEqual([]);
});
