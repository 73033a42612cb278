/**
 * What a sender may spend on hedges, and when it need not count.
 */
import { expect, test } from 'vitest';
import { createHedgeBudget, type HedgeBudget } from './hedge-budget.ts';

const A = 'https://a';
const B = 'https://b';

/** Sends that all meet a provider that owes an answer; gives how many of them were hedged. */
function hedged(budget: HedgeBudget, sends: number): number {
  let count = 0;
  for (let number = 0; number < sends; number += 1) {
    budget.sent();
    if (budget.take(new Map([[A, 0]]))) count += 1;
  }
  return count;
}

test('a sender that has just started has three in hand', () => {
  const budget = createHedgeBudget();
  budget.sent();
  expect([1, 2, 3, 4].map(() => budget.take(new Map([[A, 0]])))).toEqual([true, true, true, false]);
});

test('in the long run one send in ten is hedged', () => {
  expect(hedged(createHedgeBudget(), 10_000)).toBeLessThanOrEqual(1000);
  expect(hedged(createHedgeBudget(), 10_000)).toBeGreaterThanOrEqual(990);
});

test('what was saved in good times is a tenth of the last hundred sends, not of all', () => {
  const budget = createHedgeBudget();
  for (let number = 0; number < 10_000; number += 1) budget.sent();
  expect(Array.from({ length: 30 }, () => budget.take(new Map([[A, 0]]))).filter(Boolean)).toHaveLength(10);
});

test('a provider whose last attempt was lost is hedged without counting, until it answers', () => {
  const budget = createHedgeBudget();
  budget.lost(A);
  expect(hedged(budget, 50)).toBe(50);
  budget.answered(A, 1);
  expect(hedged(budget, 20)).toBeLessThan(10);
});

test('one that is silent while another answers is hedged without counting', () => {
  const budget = createHedgeBudget();
  budget.answered(A, 5);
  budget.answered(B, 15);
  expect(Array.from({ length: 20 }, () => budget.take(new Map([[A, 10]]))).every(Boolean)).toBe(true);
});

test('one that answers others is slow, not failing', () => {
  const budget = createHedgeBudget();
  budget.answered(A, 15);
  budget.answered(B, 15);
  expect(hedged(budget, 1)).toBe(1);
  expect(Array.from({ length: 20 }, () => budget.take(new Map([[A, 10]]))).filter(Boolean)).toHaveLength(2);
});

test('a third provider is asked without counting only when both of the first two are failing', () => {
  const budget = createHedgeBudget();
  const both = new Map([
    [A, 0],
    [B, 0],
  ]);
  budget.lost(A);
  expect(Array.from({ length: 5 }, () => budget.take(both)).filter(Boolean)).toHaveLength(3);
  budget.lost(B);
  expect(budget.take(both)).toBe(true);
});

test('any number of origins may be named', () => {
  const budget = createHedgeBudget();
  for (let number = 0; number < 1000; number += 1) {
    budget.answered(`https://${number}`, number);
    budget.lost(`https://${number}`);
  }
  expect(budget.take(new Map([['https://999', 0]]))).toBe(true);
});
