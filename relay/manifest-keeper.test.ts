/**
 * What a relay takes, what it refuses and why, and what is on disk afterwards.
 */
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, expect, test } from 'vitest';
import { makePinnedIdentity, makeVoteKey } from '../fleet/certificates.ts';
import type { Manifest } from '../fleet/manifest/manifest.ts';
import { sealRelaySecrets } from '../fleet/manifest/relay-secrets.ts';
import { signManifest } from '../fleet/manifest/signed.ts';
import { pinOf } from '../system/pinned-tls.ts';
import { systemRandom } from '../system/random.ts';
import { testManifest } from '../test/support/manifests.ts';
import { createLiveManifest, vantageTokenHashes, whatNeedsRestart } from './live-manifest.ts';
import { createManifestKeeper, type ManifestKeeper, type RefusedManifest } from './manifest-keeper.ts';

const directory = mkdtempSync(join(tmpdir(), 'manifest-keeper-'));
const path = join(directory, 'manifest.jws');
const operators = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
const peer = await makePinnedIdentity({ wallMs: Date.now(), random: systemRandom }, 'aws');
const peerPin = pinOf(peer.publicKeySpki);
const secrets = JSON.stringify({
  capabilityKeys: [{ id: 'AAAAAA', key: 'A'.repeat(43), mint: true }],
  pepper: 'A'.repeat(43),
});

afterAll(() => rmSync(directory, { recursive: true }));

const letter = (index: number): string => String.fromCharCode(97 + index);
const base = testManifest(['aws', 'gcp']);
const manifest: Manifest = {
  ...base,
  sites: base.sites.map((site, index) => ({
    ...site,
    relay: { ...site.relay, pins: [index === 0 ? peerPin : letter(index).repeat(43)] },
    vantage: { ...site.vantage, pins: [`${letter(index).repeat(42)}1`], voteKey: makeVoteKey().publicKey },
  })),
};

let keeper: ManifestKeeper;
let adopted: number[];
let refuseWith: RefusedManifest | undefined;

beforeEach(() => {
  rmSync(path, { force: true });
  adopted = [];
  refuseWith = undefined;
  keeper = keeperWith();
});

function keeperWith(over: { readonly site?: string } = {}): ManifestKeeper {
  return createManifestKeeper({
    site: 'aws',
    operatorsKey: operators.x ?? '',
    versionMin: 2,
    path,
    peerPin,
    peerKeyPem: peer.keyPem,
    adopt: ({ manifest: next }) => {
      if (refuseWith === undefined) adopted.push(next.version);
      return refuseWith;
    },
    unwritable: () => undefined,
    ...over,
  });
}

async function signed(over: Partial<Manifest>): Promise<string> {
  return signManifest({ ...manifest, ...over }, operators);
}

async function take(text: string): Promise<string> {
  const taken = await keeper.take(text);
  return taken.ok ? taken.value : taken.fault.reason;
}

test('what is good and newer is taken and kept; everything else is refused by name', async () => {
  expect(await take(await signed({ version: 7 }))).toBe('adopted');
  expect(await take(await signed({ version: 7 }))).toBe('already');
  expect(await take(await signed({ version: 7, steering: 'priority' }))).toBe('version_taken');
  expect(await take(await signed({ version: 6 }))).toBe('not_newer');
  expect(await take(await signed({ version: 1 }))).toBe('below_minimum');
  expect(await take((await signed({ version: 8 })).slice(0, -9))).toBe('not_signed');
  const drained = ['aws', 'gcp'].map((site) => ({ site, state: 'drained' as const, untilWallMs: 1 }));
  const overrides = { sites: drained, frozenUntilWallMs: null };
  expect(await take(await signed({ version: 8, overrides }))).toBe('drains_everything');
  expect(adopted).toStrictEqual([7]);
  expect(readFileSync(path, 'utf8')).toBe(await signed({ version: 7 }));
});

test('a manifest that lists another key for this site is refused, one without this site is not', async () => {
  const strange = manifest.sites.map((site) =>
    site.name === 'aws' ? { ...site, relay: { ...site.relay, pins: ['z'.repeat(43)] } } : site,
  );
  expect(await take(await signed({ sites: strange }))).toBe('own_entry_differs');
  expect(await take(await signed({ sites: manifest.sites.slice(1) }))).toBe('adopted');
});

test('sealed secrets are opened, and those that cannot be are a reason to refuse', async () => {
  const sealed = await sealRelaySecrets(secrets, 'aws', peer.certificatePem);
  const other = await makePinnedIdentity({ wallMs: Date.now(), random: systemRandom }, 'aws');
  const foreign = await sealRelaySecrets(secrets, 'aws', other.certificatePem);
  const broken = await sealRelaySecrets('{}', 'aws', peer.certificatePem);
  expect(await take(await signed({ version: 8, relaySecrets: [foreign] }))).toBe('secrets_unreadable');
  expect(await take(await signed({ version: 8, relaySecrets: [broken] }))).toBe('secrets_unreadable');
  expect(await take(await signed({ version: 8, relaySecrets: [foreign, sealed] }))).toBe('adopted');
  expect(keeper.held()?.secrets).toBe(secrets);
});

test('what the process refuses is not kept', async () => {
  await take(await signed({ version: 7 }));
  refuseWith = { reason: 'secrets_unreadable', detail: '' };
  expect(await take(await signed({ version: 8 }))).toBe('secrets_unreadable');
  expect(readFileSync(path, 'utf8')).toBe(await signed({ version: 7 }));
  expect(keeper.held()?.manifest.version).toBe(7);
});

test('the file is read again when asked, and a bad one gives way to the last good one', async () => {
  expect(await keeper.load()).toBeUndefined();
  const good = await signed({ version: 7 });
  writeFileSync(path, `${good}\n`);
  expect(await keeper.load()).toStrictEqual({ ok: true, value: 'adopted' });
  writeFileSync(path, good.slice(0, 100));
  expect(await keeper.load()).toMatchObject({ ok: false, fault: { reason: 'not_signed' } });
  expect(readFileSync(path, 'utf8')).toBe(good);
  const next = keeperWith();
  expect(await next.load()).toMatchObject({ ok: true });
  expect(next.held()?.manifest).toStrictEqual(manifest);
});

test('zone, port and own provider are reasons to begin anew, sites are not', () => {
  const moved = manifest.sites.map((site) => ({ ...site, provider: `${site.provider}-2` }));
  expect(whatNeedsRestart(manifest, { ...manifest, zone: 'other.example.com' }, 'aws')).toBe('zone_changed');
  expect(whatNeedsRestart(manifest, { ...manifest, port: 8443 }, 'aws')).toBe('port_changed');
  expect(whatNeedsRestart(manifest, { ...manifest, sites: moved }, 'aws')).toBe('provider_changed');
  expect(
    whatNeedsRestart(manifest, { ...manifest, sites: manifest.sites.slice(0, 1) }, 'aws'),
  ).toBeUndefined();
  const live = createLiveManifest(manifest);
  const { sites } = live.manifest;
  live.replace({ ...manifest, version: 8, sites: manifest.sites.slice(1) });
  expect(sites.map(({ name }) => name)).toStrictEqual(['gcp']);
  expect(manifest.sites).toHaveLength(2);
});

test('a vantage makes push URLs with its own token for as long as it is listed', () => {
  const hash = (letter: string): string => Buffer.alloc(32, letter).toString('base64url');
  const sites = manifest.sites.map((site, index) =>
    index === 0 ? { ...site, vantage: { ...site.vantage, operatorTokenHash: hash('a') } } : site,
  );
  const [, second] = sites;
  if (second === undefined) return expect.unreachable();
  const witness = {
    name: 'ovh',
    provider: 'ovh',
    vantage: { ...second.vantage, operatorTokenHash: hash('w') },
  };
  const live = createLiveManifest({ ...manifest, sites });
  const letters = (): string =>
    vantageTokenHashes(live.manifest)
      .map((bytes) => Buffer.from(bytes).toString().charAt(0))
      .join('');
  expect(letters()).toBe('a');
  live.replace({ ...manifest, sites, witnesses: [witness] });
  expect(letters()).toBe('aw');
  live.replace({ ...manifest, sites: [second] });
  expect(letters()).toBe('');
});
