/** Counters that exist before anything happened: a rate is known from the first event on. */
import { expect, test } from 'vitest';
import { createLog } from '../system/log.ts';
import { createMetrics } from '../system/metrics.ts';
import { createManualClock } from '../test/support/manual-clock.ts';
import { REFUSAL_NAMES } from './core/refusal.ts';
import { CLOSE_CODES } from './core/session.ts';
import { createRelayEvents, DISCARDS, TURNED_AWAY } from './events.ts';

function setUp() {
  const metrics = createMetrics('relay_');
  const lines: string[] = [];
  const log = createLog({
    clock: createManualClock(),
    base: {},
    level: 'error',
    write: (line) => lines.push(line),
  });
  return { metrics, lines, events: createRelayEvents(metrics, log) };
}

test.each<[string, string, readonly string[]]>([
  ['refused_total', 'code', REFUSAL_NAMES],
  ['discarded_total', 'reason', DISCARDS],
  ['turned_away_total', 'reason', TURNED_AWAY],
  ['sessions_closed_total', 'reason', [...Object.keys(CLOSE_CODES), 'gone']],
  ['accepted_total', 'result', ['accepted', 'copies_unreachable']],
])('each of relay_%s{%s} is at zero from the start', async (name, label, values) => {
  const text = await setUp().metrics.text();
  expect(values.length).toBeGreaterThan(1);
  for (const value of values) expect(text).toContain(`relay_${name}{${label}="${value}"} 0\n`);
});

test('what happened is counted under its own name, and no other', async () => {
  const { events, metrics } = setUp();
  events.refused('overloaded');
  events.turnedAway('tls_failed');
  events.unbelieved('lives_too_long');
  events.unbelieved('bad_signature');
  events.sessionClosed('too_slow');
  const counted = (await metrics.text()).match(/^relay_\w+_total\{\w+="\w+"\} [1-9]\d*$/gm);
  expect(counted?.sort()).toEqual([
    'relay_discarded_total{reason="damaged_by_peer"} 1',
    'relay_discarded_total{reason="lives_too_long"} 1',
    'relay_refused_total{code="overloaded"} 1',
    'relay_sessions_closed_total{reason="too_slow"} 1',
    'relay_turned_away_total{reason="tls_failed"} 1',
  ]);
});
