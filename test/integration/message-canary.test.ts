/**
 * Message canaries through real relays: a message gets through, and a site that says it is ready while it forgets
 * messages is found, with the partners that it failed with left alone.
 */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Manifest } from '../../fleet/manifest/manifest.ts';
import { probeTrust } from '../../healthcheck/adapters/https-probe.ts';
import { createMessageCanary, type MessageCanary } from '../../healthcheck/adapters/message-canary.ts';
import type { CanaryOutcome } from '../../healthcheck/core/canary.ts';
import type { ProbeOutcome } from '../../healthcheck/core/observation.ts';
import type { Target } from '../../healthcheck/core/target.ts';
import { startProbing } from '../../healthcheck/probing.ts';
import { systemClock } from '../../system/clock.ts';
import { systemRandom } from '../../system/random.ts';
import { eventually } from '../support/eventually.ts';
import { createRelaySites, type RelaySites } from '../support/relay-sites.ts';

const SITES = ['aws', 'gcp', 'hetzner'];
let relays: RelaySites;
let manifest: Manifest;

beforeAll(async () => {
  relays = await createRelaySites();
  for (const site of SITES) relays.start(site);
  await Promise.all(SITES.map(async (site) => relays.untilStatus(site, 200)));
  const before = relays.identities.manifest;
  // Quicker than the default, so that a round of canaries and the probes between them take a second.
  const health = {
    ...before.health,
    probeIntervalMs: 400,
    probeTimeoutMs: 350,
    canaryIntervalMs: 2000,
  };
  manifest = { ...before, health };
}, 60_000);

afterAll(async () => {
  await relays?.[Symbol.asyncDispose]();
});

function trust(): ReturnType<typeof probeTrust> {
  return probeTrust(readFileSync(relays.identities.files.authority, 'utf8'));
}

function canary(): MessageCanary {
  return createMessageCanary({
    manifest,
    trust: trust(),
    operatorToken: undefined,
    clock: systemClock,
    random: systemRandom,
  });
}

function target(site: string): Target {
  return { site, family: 'ipv4' };
}

test('an encrypted message gets through every pair, through each site alone, and again', async () => {
  const send = canary();
  for (const store of SITES) {
    for (const fetch of SITES) {
      expect(await send({ store: target(store), fetch: target(fetch) })).toBe('delivered');
    }
  }
  expect(await send({ store: target('aws'), fetch: target('gcp') })).toBe('delivered');
}, 60_000);

test('a site that is away is named by its role', async () => {
  await relays.kill('hetzner');
  const send = canary();
  expect(await send({ store: target('hetzner'), fetch: target('aws') })).toBe('not_stored');
  expect(await send({ store: target('aws'), fetch: target('hetzner') })).toBe('not_fetched');
  relays.start('hetzner');
  await relays.untilStatus('hetzner', 200);
}, 60_000);

test('a site that forgets is not asked so often that its refusals hide it', async () => {
  await relays.kill('gcp');
  relays.start('gcp', { RELAY_MAILBOX_ASKS_PER_SECOND: '2' }, 'test/mutants/relay-forgets.ts');
  await relays.untilStatus('gcp', 200);
  const send = canary();
  expect(await send({ store: target('gcp'), fetch: target('gcp') })).toBe('not_delivered');
}, 60_000);

test.each([[SITES], [SITES.slice(0, 2)]])(
  'a site of %j that is ready and forgets messages is found, and nobody else is blamed',
  async (among) => {
    await relays.kill('gcp');
    relays.start('gcp', {}, 'test/mutants/relay-forgets.ts');
    await relays.untilStatus('gcp', 200);
    const outcomes = new Map<string, ProbeOutcome[]>();
    const canaries: CanaryOutcome[] = [];
    const observed = new Map<string, boolean>();
    const sites = manifest.sites.filter(({ name }) => among.includes(name));
    const stop = startProbing(
      { ...manifest, sites },
      {
        self: 'aws',
        trust: trust(),
        operatorToken: undefined,
        clock: systemClock,
        random: systemRandom,
        judgement: {
          observe: ({ site }, ready) => void observed.set(site, ready),
          seenStrained: () => undefined,
        },
        events: {
          probingBegan: () => undefined,
          observed: ({ site }, outcome) => void outcomes.set(site, [...(outcomes.get(site) ?? []), outcome]),
          canaryEnded: (_, outcome) => void canaries.push(outcome),
          canaryVerdict: () => undefined,
        },
      },
    );
    try {
      await eventually(
        'messages do not get through gcp',
        () => outcomes.get('gcp')?.includes('canary_failed') === true || undefined,
        60_000,
      );
      expect(outcomes.get('gcp')?.[0]).toBe('ready');
      expect(observed.get('gcp')).toBe(false);
      expect(canaries).toContain('delivered');
      for (const site of among.filter((one) => one !== 'gcp')) {
        expect(outcomes.get(site)).not.toContain('canary_failed');
      }

      await relays.kill('gcp');
      relays.start('gcp');
      await eventually(
        'messages get through gcp again',
        () => outcomes.get('gcp')?.at(-1) === 'ready' || undefined,
        60_000,
      );
    } finally {
      stop();
    }
  },
  180_000,
);
