/**
 * Counters that exist before anything happened, and gauges that tell the truth.
 */
import { expect, test } from 'vitest';
import { createLog } from '../system/log.ts';
import { createMetrics } from '../system/metrics.ts';
import { createManualClock } from '../test/support/manual-clock.ts';
import { createEvents } from './events.ts';

function setUp() {
  const clock = createManualClock();
  const metrics = createMetrics('vantage_');
  const lines: string[] = [];
  const log = createLog({ clock, base: {}, level: 'error', write: (line) => lines.push(line) });
  return { clock, metrics, lines, events: createEvents(log, metrics, clock) };
}

test('every outcome, refusal and discard has a counter at zero from the start', async () => {
  const text = await setUp().metrics.text();
  for (const line of [
    'vantage_observations_total{outcome="ready"} 0',
    'vantage_observations_total{outcome="local_error"} 0',
    'vantage_answers_changed_total{reason="withdrawn"} 0',
    'vantage_answers_refused_total{reason="generation_moved"} 0',
    'vantage_withdrawals_deferred_total{reason="withdrawal_window"} 0',
    'vantage_votes_refused_total{reason="replayed"} 0',
    'vantage_requests_refused_total{reason="key_not_pinned"} 0',
    'vantage_manifests_refused_total{reason="drains_everything"} 0',
    'vantage_overrides_refused_total{reason="not_newer"} 0',
    'vantage_waiting 1',
    'vantage_queries_total{rcode="NXDOMAIN"} 0',
    'vantage_dns_discards_total{reason="not_a_query"} 0',
    'vantage_fail_open 0',
    'vantage_isolated 1',
  ]) {
    expect(text).toContain(`${line}\n`);
  }
});

test('the age of the newest observation grows, and local trouble does not renew it', async () => {
  const { clock, metrics, events } = setUp();
  const target = { site: 'aws', family: 'ipv4' } as const;
  events.observed(target, 'timed_out');
  clock.advance(7000);
  events.observed(target, 'local_stall');
  expect(await metrics.text()).toContain('vantage_observation_age_seconds{target="aws/ipv4"} 7\n');
});

test('a target that is probed and never observed ages too, and one that is probed no longer has no age', async () => {
  const { clock, metrics, events } = setUp();
  const [aws, gcp] = ['aws', 'gcp'].map((site) => ({ site, family: 'ipv4' }) as const);
  if (aws === undefined || gcp === undefined) throw new Error('two targets');
  events.probingBegan([aws, gcp]);
  clock.advance(4000);
  events.observed(gcp, 'ready');
  expect(await metrics.text()).toContain('vantage_observation_age_seconds{target="aws/ipv4"} 4\n');
  events.probingBegan([aws]);
  clock.advance(1000);
  const text = await metrics.text();
  expect(text).toContain('vantage_observation_age_seconds{target="aws/ipv4"} 5\n');
  expect(text).not.toContain('gcp/ipv4');
});

test('a failing open answer shows in the gauge until another answer comes', async () => {
  const { metrics, events } = setUp();
  const report = {
    generation: 4,
    sites: ['aws', 'gcp'],
    ttlSeconds: 5,
    failOpen: true,
    reason: 'fail_open',
  } as const;
  events.answerChanged(report);
  expect(await metrics.text()).toContain('vantage_fail_open 1\n');
  events.answerChanged({ ...report, generation: 5, failOpen: false, reason: 'fail_open_ended' });
  const text = await metrics.text();
  expect(text).toContain('vantage_fail_open 0\n');
  expect(text).toContain('vantage_answer_generation 5\n');
});

test('signatures that end soon are an error, and the time left is always shown', async () => {
  const { clock, metrics, events, lines } = setUp();
  const nowSeconds = clock.wallMs() / 1000;
  const days = (count: number): number => nowSeconds + count * 86_400;
  events.signaturesLeft({ keysExpireSeconds: days(14), recordsExpireSeconds: days(7) });
  expect(lines.filter((line) => line.includes('signatures end soon'))).toStrictEqual([]);
  expect(await metrics.text()).toContain('vantage_signature_seconds_left{of="zone_keys"} 1209600\n');
  events.signaturesLeft({ keysExpireSeconds: days(13.9), recordsExpireSeconds: days(6.9) });
  const told = lines.filter((line) => line.includes('signatures end soon'));
  expect(told.map((line) => /"of":"(\w+)","daysLeft":(\d+)/.exec(line)?.slice(1))).toStrictEqual([
    ['zone_keys', '13'],
    ['records', '6'],
  ]);
});
