/** Reading a relay's own figures must not confuse two metrics of which one name begins with the other. */
import { expect, test } from 'vitest';
import { isSettledSince } from '../drill/copies-watch.ts';
import { metricValues } from './private-http.ts';

const TEXT = `# HELP relay_owed Outbox entries
# TYPE relay_owed gauge
relay_owed{site="gcp"} 3
relay_owed{site="hetzner"} 0
relay_owed_oldest_seconds{site="gcp"} 1.5
relay_recovering 0
`;

test('a metric is read by its whole name', () => {
  expect([...metricValues(TEXT, 'relay_owed')]).toEqual([
    ['gcp', 3],
    ['hetzner', 0],
  ]);
  expect(metricValues(TEXT, 'relay_recovering').get('')).toBe(0);
  expect(metricValues(TEXT, 'relay_own').size).toBe(0);
});

test('debts are settled when the oldest is younger than the event', () => {
  const debts = {
    owed: metricValues(TEXT, 'relay_owed'),
    oldestSeconds: metricValues(TEXT, 'relay_owed_oldest_seconds'),
    recovering: false,
    atMs: 10_000,
  };
  expect(isSettledSince(debts, ['gcp', 'hetzner'], 8000)).toBe(true);
  expect(isSettledSince(debts, ['gcp', 'hetzner'], 9000)).toBe(false);
  expect(isSettledSince(debts, ['hetzner'], 9000)).toBe(true);
});
