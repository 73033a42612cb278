/** Metrics: every value of a label exists from the start. */
import { expect, test } from 'vitest';
import { createMetrics } from './metrics.ts';

test('a counter is zero for each of its reasons before anything has happened', async () => {
  const metrics = createMetrics('a_');
  const refused = metrics.counter('refused_total', 'Refused', 'reason', ['full', 'late']);
  refused.add('late', 2);
  const text = await metrics.text();
  expect(text).toContain('a_refused_total{reason="full"} 0');
  expect(text).toContain('a_refused_total{reason="late"} 2');
});

test('a gauge says what is true when it is read, and forgets labels that are gone', async () => {
  const metrics = createMetrics('b_');
  const owed = new Map([['gcp', 3]]);
  metrics.gauge('owed', 'Owed', 'site', () => owed);
  expect(await metrics.text()).toContain('b_owed{site="gcp"} 3');
  owed.clear();
  expect(await metrics.text()).not.toContain('b_owed{site="gcp"}');
});
