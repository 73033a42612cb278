/**
 * What a vantage takes, what it refuses and why, and what it has on disk afterwards.
 */
import { generateKeyPairSync } from 'node:crypto';
import type { JWK } from 'jose';
import { beforeEach, expect, test } from 'vitest';
import { makeVoteKey } from '../fleet/certificates.ts';
import type { Manifest, OverrideState } from '../fleet/manifest/manifest.ts';
import { overrideOf, signOverrides } from '../fleet/manifest/overrides.ts';
import { signManifest } from '../fleet/manifest/signed.ts';
import { testManifest } from '../test/support/manifests.ts';
import type { DocumentFiles } from './adapters/document-files.ts';
import { createDocuments, type Documents } from './documents.ts';

const NOW_MS = 1_800_000_000_000;
const HOUR_MS = 3_600_000;
const [operators, ada] = [key(), key()];
const base = testManifest(['aws', 'gcp', 'hetzner']);
const pin = (letter: string, digit: number): string => `${letter.repeat(42)}${digit}`;
const manifest: Manifest = {
  ...base,
  sites: base.sites.map((site, index) => {
    const letter = 'abc'[index] ?? '';
    const vantage = { ...site.vantage, pins: [pin(letter, 1)], voteKey: makeVoteKey().publicKey };
    return { ...site, relay: { ...site.relay, pins: [pin(letter, 2)] }, vantage };
  }),
  onCallKeys: [{ name: 'ada', publicKey: ada.x ?? '' }],
};

function key(): JWK {
  return generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
}

let disk: { manifest: string | undefined; overrides: string | undefined };
let changes: string[];
let ownFaults: readonly string[];
let documents: Documents;

beforeEach(() => {
  disk = { manifest: undefined, overrides: undefined };
  changes = [];
  ownFaults = [];
  documents = documentsOn(disk);
});

function documentsOn(kept: typeof disk, unwritable: () => void = () => undefined): Documents {
  const files: DocumentFiles = {
    readManifest: async () => kept.manifest,
    readOverrides: async () => kept.overrides,
    writeManifest: async (signed) => {
      kept.manifest = signed;
    },
    writeOverrides: async (signed) => {
      kept.overrides = signed;
    },
  };
  return createDocuments({
    operatorsKey: operators.x ?? '',
    versionMin: 2,
    files,
    clock: { wallMs: () => NOW_MS },
    zoneFaults: (next) => (next.zone === 'no.zone' ? ['no zone can be made of it'] : []),
    ownFaults: () => ownFaults,
    changed: async ({ manifest: { version }, overrides }) => {
      changes.push(`${version} ${overrides?.document.sequence ?? 'none'}`);
    },
    unwritable,
  });
}

async function signed(over: Partial<Manifest>): Promise<string> {
  return signManifest({ ...manifest, ...over }, operators);
}

async function drain(
  states: Readonly<Record<string, OverrideState>>,
  { sequence = NOW_MS, forMs = HOUR_MS, by = ada } = {},
): Promise<string> {
  const sites = Object.entries(states).map(([site, state]) => ({ site, state, untilWallMs: NOW_MS + forMs }));
  return signOverrides({ format: 1, sequence, overrides: { sites, frozenUntilWallMs: null } }, by);
}

async function take(text: string): Promise<string> {
  const taken = await documents.takeManifest(text);
  return taken.ok ? taken.value.outcome : taken.fault.reason;
}

async function override(text: string): Promise<string> {
  const taken = await documents.takeOverrides(text);
  return taken.ok ? taken.value.outcome : taken.fault.reason;
}

test('what is good and newer is taken, told and kept; what is refused changes nothing', async () => {
  expect(await override(await drain({}))).toBe('no_manifest');
  const first = await signed({ version: 7 });
  expect(await take(` ${first}\n`)).toBe('adopted');
  const { tag } = documents.held() ?? {};
  expect(await take(first)).toBe('already');
  expect(await take(await signed({ version: 6 }))).toBe('not_newer');
  expect(await take(await signed({ version: 7, steering: 'priority' }))).toBe('version_taken');
  expect(await take(await signed({ version: 1 }))).toBe('below_minimum');
  expect(await take(await signed({ version: 8, zone: 'no.zone' }))).toBe('invalid');
  expect(await take(await signManifest({ ...manifest, version: 8 }, ada))).toBe('not_signed');
  ownFaults = ['the manifest lists another key'];
  expect(await take(await signed({ version: 8 }))).toBe('own_entry_differs');
  expect(documents.held()).toMatchObject({ signed: first, tag });
  expect(disk.manifest).toBe(first);
  expect(changes).toStrictEqual(['7 none']);
});

test('two manifests that arrive together do not overtake each other', async () => {
  const [seventh, eighth] = await Promise.all([signed({ version: 7 }), signed({ version: 8 })]);
  expect(await Promise.all([take(eighth), take(seventh)])).toStrictEqual(['adopted', 'not_newer']);
  expect(changes).toStrictEqual(['8 none']);
});

test('overrides hold beside the manifest, over newer manifests, and end with their key', async () => {
  await take(await signed({ version: 7 }));
  const out = await drain({ aws: 'drained' });
  expect([await override(out), await override(out)]).toStrictEqual(['adopted', 'already']);
  expect(await override(await drain({}, { sequence: NOW_MS - 1 }))).toBe('not_newer');
  expect(await take(await signed({ version: 8 }))).toBe('adopted');
  const held = documents.held();
  expect(held && overrideOf('aws', held.inForce, NOW_MS)?.state).toBe('drained');
  expect(held?.manifest.overrides.sites).toStrictEqual([]);
  expect(await take(await signed({ version: 9, onCallKeys: [] }))).toBe('adopted');
  expect(documents.held()?.overrides).toBeUndefined();
  expect(disk.overrides).toBeUndefined();
  expect(await override(out)).toBe('not_signed');
  expect(await override(await drain({ gcp: 'draining' }, { by: operators }))).toBe('adopted');
});

test('neither side may drain what the other has left', async () => {
  await take(await signed({ version: 7 }));
  await override(await drain({ aws: 'drained', gcp: 'draining' }));
  const sites = [{ site: 'hetzner', state: 'drained' as const, untilWallMs: NOW_MS + 1 }];
  const rest = await signed({ version: 8, overrides: { sites, frozenUntilWallMs: null } });
  expect(await take(rest)).toBe('drains_everything');
  expect(await override(await drain({}, { sequence: NOW_MS + 1 }))).toBe('adopted');
  expect(await take(rest)).toBe('adopted');
  const others = await drain({ aws: 'drained', gcp: 'drained' }, { sequence: NOW_MS + 2 });
  expect(await override(others)).toBe('drains_everything');
});

test('a start has what was kept; what was damaged meanwhile is told and left out', async () => {
  await take(await signed({ version: 7 }));
  await override(await drain({ aws: 'drained' }));
  const again = documentsOn({ ...disk });
  expect(await again.load()).toStrictEqual([]);
  expect(again.held()).toStrictEqual(documents.held());

  const halved = documentsOn({ ...disk, overrides: disk.overrides?.slice(0, 90) });
  expect(await halved.load()).toMatchObject([{ reason: 'not_signed' }]);
  expect(halved.held()?.manifest.version).toBe(7);

  const lost = documentsOn({ ...disk, manifest: disk.manifest?.slice(0, 90) });
  const refused = await lost.load();
  expect(refused.map(({ reason }) => reason)).toStrictEqual(['not_signed', 'no_manifest']);
  expect(lost.held()).toBeUndefined();
  expect(await documentsOn({ manifest: undefined, overrides: undefined }).load()).toStrictEqual([]);
});

test('a file that somebody put there is taken when asked, and gives way when it is no good', async () => {
  await take(await signed({ version: 7 }));
  disk.manifest = await signed({ version: 8 });
  expect(await documents.reload()).toMatchObject({ ok: true, value: { outcome: 'adopted' } });
  const good = disk.manifest;
  disk.manifest = 'nonsense';
  expect(await documents.reload()).toMatchObject({ ok: false, fault: { reason: 'not_signed' } });
  expect(disk.manifest).toBe(good);
  disk.manifest = undefined;
  expect(await documents.reload()).toMatchObject({ ok: false, fault: { reason: 'unreadable' } });
});
