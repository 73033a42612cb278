/**
 * Several addresses, one outcome.
 */
import { expect, test } from 'vitest';
import { combineOutcomes } from './observation.ts';

test('a target is ready when any of its addresses is', () => {
  expect(combineOutcomes(['timed_out', 'ready', 'local_error'])).toBe('ready');
});

test('a target has failed only when every address has', () => {
  expect(combineOutcomes(['timed_out', 'refused'])).toBe('timed_out');
  expect(combineOutcomes(['timed_out', 'local_stall'])).toBe('local_stall');
});

test('a target without addresses gives no evidence', () => {
  expect(combineOutcomes([])).toBe('local_error');
});
