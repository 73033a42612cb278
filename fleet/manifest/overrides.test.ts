/** Overrides signed by somebody on call: who may, for how long, and what they can never do. */
import { generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import type { JWK } from 'jose';
import { expect, test } from 'vitest';
import { testManifest } from '../../test/support/manifests.ts';
import {
  type Manifest,
  NO_OVERRIDES,
  OVERRIDE_STATES,
  type OverrideState,
  type Overrides,
} from './manifest.ts';
import {
  admitOverrides,
  drainsEverything,
  OVERRIDE_MS_MAX,
  type OverridesDocument,
  openOverrides,
  overrideKeys,
  overrideOf,
  parseOverrides,
  signOverrides,
  withOverrides,
} from './overrides.ts';

const NOW_MS = 1_800_000_000_000;
const HOUR_MS = 3_600_000;
const [ada, operators, stranger] = [key(), key(), key()];
const manifest: Manifest = {
  ...testManifest(['aws', 'gcp', 'hetzner']),
  onCallKeys: [{ name: 'ada', publicKey: ada.x ?? '' }],
};
const keys = overrideKeys(manifest, operators.x ?? '');

function key(): JWK {
  return generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
}

function entry(
  site: string,
  state: OverrideState,
  untilWallMs = NOW_MS + HOUR_MS,
): Overrides['sites'][number] {
  return { site, state, untilWallMs };
}

function document(sites: Overrides['sites'], more: Partial<OverridesDocument> = {}): OverridesDocument {
  return { format: 1, sequence: NOW_MS, overrides: { sites, frozenUntilWallMs: null }, ...more };
}

function admitted(overrides: OverridesDocument, beside: Manifest = manifest, held = 0): string {
  const result = admitOverrides(overrides, beside, { held, wallMs: NOW_MS });
  return result.ok ? 'taken' : result.fault.reason;
}

test('a key of somebody on call and the operators sign; nobody else does', async () => {
  const drain = document([entry('aws', 'draining')]);
  const opened = await Promise.all(
    [ada, operators, stranger].map(async (jwk) => openOverrides(await signOverrides(drain, jwk), keys)),
  );
  expect(opened.map((one) => (one.ok ? one.value.document : one.fault.reason))).toEqual([
    drain,
    drain,
    'not_signed',
  ]);
  expect(opened[0]?.ok === true && keys.get(opened[0].value.publicKey)).toBe('ada');
});

test('what is altered, cut off, or signed under the name of another key is not signed', async () => {
  const signed = await signOverrides(document([]), ada);
  const [header = '', payload = ''] = signed.split('.');
  const forged = await signOverrides(document([]), { ...stranger, x: stranger.x ?? '' });
  const underAnotherName = [header, ...forged.split('.').slice(1)].join('.');
  for (const text of [signed.slice(0, -8), `${header}.${payload}`, underAnotherName, '', '…']) {
    const opened = await openOverrides(text, keys);
    expect(opened.ok ? 'taken' : opened.fault.reason).toBe('not_signed');
  }
  const long = await openOverrides('x'.repeat(20_000), keys);
  expect(long.ok ? 'taken' : long.fault.reason).toBe('too_large');
});

test.each<[string, OverridesDocument, Manifest?, number?]>([
  ['taken', document([entry('aws', 'drained')])],
  ['taken', document([])],
  ['not_newer', document([]), manifest, NOW_MS],
  ['from_the_future', document([], { sequence: NOW_MS + HOUR_MS })],
  ['too_long', document([entry('aws', 'drained', NOW_MS + OVERRIDE_MS_MAX + 1)])],
  ['too_long', document([], { overrides: { sites: [], frozenUntilWallMs: NOW_MS + 2 * OVERRIDE_MS_MAX } })],
  ['site_unknown', document([entry('ovh', 'drained')])],
  ['drains_everything', document(['aws', 'gcp', 'hetzner'].map((site) => entry(site, 'draining')))],
  [
    'drains_everything',
    document([entry('aws', 'drained'), entry('gcp', 'drained')]),
    withOverrides(manifest, document([entry('hetzner', 'draining')]).overrides),
  ],
])('%s: %j', (expected, overrides, beside, held) => {
  expect(admitted(overrides, beside, held)).toBe(expected);
});

test('a manifest that is drained in the past does not count, one that is drained later does', () => {
  const two = [entry('aws', 'drained'), entry('gcp', 'drained')];
  const past = withOverrides(manifest, document([entry('hetzner', 'drained', NOW_MS - 1)]).overrides);
  expect(admitted(document(two), past)).toBe('taken');
  // Served for half an hour by somebody on call, then drained again with both others.
  const drained = withOverrides(
    manifest,
    document([entry('hetzner', 'drained', NOW_MS + 2 * HOUR_MS)]).overrides,
  );
  const served = [...two, entry('hetzner', 'serving', NOW_MS + HOUR_MS / 2)];
  expect(admitted(document(served), drained)).toBe('drains_everything');
});

test('an entry stands before that of the manifest until it ends; of two freezes the longer holds', () => {
  const signed: Manifest = {
    ...manifest,
    overrides: { sites: [entry('aws', 'drained', NOW_MS + 9 * HOUR_MS)], frozenUntilWallMs: NOW_MS + 7 },
  };
  const merged = withOverrides(signed, {
    sites: [entry('aws', 'serving'), entry('gone', 'drained')],
    frozenUntilWallMs: NOW_MS + 3,
  });
  expect(overrideOf('aws', merged, NOW_MS)?.state).toBe('serving');
  expect(overrideOf('aws', merged, NOW_MS + HOUR_MS)?.state).toBe('drained');
  expect(overrideOf('gone', merged, NOW_MS)).toBeUndefined();
  expect(merged.overrides.frozenUntilWallMs).toBe(NOW_MS + 7);
  expect(withOverrides(signed, NO_OVERRIDES)).toBe(signed);
});

test('the parser gives all faults, never throws, and what it takes is what was written', () => {
  const faulty = parseOverrides({ format: 1, sequence: 0, overrides: { sites: [] }, surprise: 1 });
  expect(faulty.ok ? [] : faulty.fault).toEqual([
    expect.stringContaining('overrides.sequence: expected'),
    expect.stringContaining('overrides.overrides.frozenUntilWallMs: expected'),
    'overrides.surprise: no such field',
  ]);
  fc.assert(fc.property(fc.jsonValue(), (value) => !parseOverrides(value).ok));
  fc.assert(
    fc.property(documents, (one) => {
      expect(parseOverrides(JSON.parse(JSON.stringify(one)))).toEqual({ ok: true, value: one });
    }),
  );
});

const states = fc.constantFrom(...OVERRIDE_STATES);
const moments = fc.integer({ min: NOW_MS - HOUR_MS, max: NOW_MS + OVERRIDE_MS_MAX });
const entries = fc.uniqueArray(
  fc.record({ site: fc.constantFrom('aws', 'gcp', 'hetzner'), state: states, untilWallMs: moments }),
  { selector: ({ site }) => site },
);
const overridesOfAll = fc.record({
  sites: entries,
  frozenUntilWallMs: fc.option(moments, { nil: null }),
});
const documents = fc.record({
  format: fc.constant(1 as const),
  sequence: fc.constant(NOW_MS),
  overrides: overridesOfAll,
});

test('whatever is admitted leaves at least one site at every later moment', () => {
  fc.assert(
    fc.property(documents, overridesOfAll, moments, (one, own, laterMs) => {
      const beside = { ...manifest, overrides: own };
      if (admitted(one, beside) !== 'taken') return;
      const merged = withOverrides(beside, one.overrides);
      const atMs = Math.max(NOW_MS, laterMs);
      const left = manifest.sites.filter(
        ({ name }) => (overrideOf(name, merged, atMs)?.state ?? 'serving') === 'serving',
      );
      expect(left.length).toBeGreaterThan(0);
      expect(drainsEverything(merged, atMs)).toBe(false);
    }),
  );
});
