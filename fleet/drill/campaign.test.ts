/** The summary of all drills: it goes by the worst, and shows what was missed. */
import { describe, expect, test } from 'vitest';
import { type CampaignEntry, formatCampaign, worstOf } from './campaign.ts';
import type { DrillResult } from './drill.ts';
import type { FaultName } from './faults/catalogue.ts';

function entry(fault: FaultName, result: DrillResult, trouble = ''): CampaignEntry {
  const nothing = { head: undefined, assessment: undefined, evidence: undefined };
  return { fault, outcome: { result, trouble, ...nothing } };
}

describe('the result of a campaign', () => {
  test('is that of the drill that ended worst', () => {
    const orders: readonly (readonly [readonly DrillResult[], DrillResult])[] = [
      [['met', 'met'], 'met'],
      [['met', 'refused'], 'refused'],
      [['unknown', 'refused'], 'unknown'],
      [['aborted', 'unknown'], 'aborted'],
      [['not restored', 'aborted'], 'not restored'],
      [['met', 'missed', 'not restored'], 'missed'],
    ];
    for (const [results, worst] of orders) {
      expect(worstOf(results.map((result) => entry('kill', result)))).toBe(worst);
    }
  });

  test('is told for each fault, with the reason where it is not met', () => {
    const told = formatCampaign([
      entry('kill', 'met'),
      entry('skew', 'refused', 'This machine cannot cause skew: no library.'),
    ]);
    expect(told).toContain('kill        met');
    expect(told).toMatch(/skew {8}refused.*\n {4}This machine cannot cause skew: no library\./);
    expect(told).toMatch(/1 of 2 met\. RESULT: refused$/);
  });
});
