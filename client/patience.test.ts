/**
 * Whose Retry-After holds for the next message, too.
 */
import { expect, test } from 'vitest';
import { createPatience } from './patience.ts';

const A = 'https://a';

test.each([
  ['overloaded', 10],
  ['draining', 10],
  ['mailbox_too_fast', 0],
  ['copies_unreachable', 0],
  ['', 0],
])('what is said with %s', (code, untilMs) => {
  const patience = createPatience();
  patience.asked(A, 'normal', code, 10);
  expect(patience.untilMs(A, 'normal')).toBe(untilMs);
});

test('holds for that origin and that urgency only', () => {
  const patience = createPatience();
  patience.asked(A, 'low', 'overloaded', 10);
  expect(patience.untilMs('https://b', 'low')).toBe(0);
  expect(patience.untilMs(A, 'high')).toBe(0);
});

test('of any number of origins the latest are remembered', () => {
  const patience = createPatience();
  for (let number = 0; number < 300; number += 1)
    patience.asked(`https://${number}`, 'low', 'overloaded', 10);
  expect(patience.untilMs('https://0', 'low')).toBe(0);
  expect(patience.untilMs('https://299', 'low')).toBe(10);
});
