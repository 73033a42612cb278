/**
 * A surge, as three vantages in processes of their own see it: relays that are crowded, and one that answers late.
 */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { TYPE } from '../../healthcheck/dns/message.ts';
import { ask } from '../support/dns-client.ts';
import { eventually } from '../support/eventually.ts';
import {
  createVantageFleet,
  FAST_POLICY,
  type RunningVantage,
  startWellVantages,
  type VantageFleet,
  ZONE,
} from '../support/vantage-fleet.ts';

/** Between a deadline that is late and the next probe there has to be time on a busy machine. */
const POLICY = { ...FAST_POLICY, probeIntervalMs: 1500, probeTimeoutMs: 500, voteFreshMs: 5000 };
const LATE_MS = 900;

let fleet: VantageFleet;
let vantages: readonly RunningVantage[];

beforeEach(async () => {
  fleet = await createVantageFleet(49, POLICY);
  vantages = await startWellVantages(fleet);
}, 120_000);

afterEach(async () => fleet[Symbol.asyncDispose]());

async function addressesFrom(vantage: RunningVantage): Promise<number> {
  const response = await ask({ address: vantage.address, port: vantage.dnsPort }, ZONE, TYPE.A);
  return response?.answers.filter(({ type }) => type === 'A').length ?? 0;
}

async function untilGcpIsGone(): Promise<void> {
  for (const vantage of vantages) {
    await eventually(
      `${vantage.site} no longer gives out gcp`,
      async () => (await addressesFrom(vantage)) === 2 || undefined,
      60_000,
    );
  }
}

test('a slow site stays while the others are crowded, and leaves once it is dead', async () => {
  fleet.strainRelay('aws', 0);
  fleet.strainRelay('hetzner', 0);
  fleet.strainRelay('gcp', LATE_MS);
  for (const vantage of vantages) {
    await eventually(
      `${vantage.site} would withdraw gcp, and does not`,
      () =>
        vantage.lines.find(({ event, reason }) => event === 'withdrawal deferred' && reason === 'capacity'),
      60_000,
    );
    expect((await vantage.status()).sites.find(({ name }) => name === 'gcp')).toMatchObject({
      health: 'down',
      targets: [{ strained: true }],
    });
    expect(await addressesFrom(vantage)).toBe(3);
  }
  await fleet.stopRelay('gcp');
  await untilGcpIsGone();
}, 180_000);

test('a slow site leaves while the others have room', async () => {
  fleet.strainRelay('gcp', LATE_MS);
  await untilGcpIsGone();
}, 180_000);
