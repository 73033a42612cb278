/**
 * Votes: one encoding, one key, one order.
 */
import fc from 'fast-check';
import { type CryptoKey, importPKCS8 } from 'jose';
import { beforeAll, expect, test } from 'vitest';
import { makeVoteKey } from '../../fleet/certificates.ts';
import type { Manifest } from '../../fleet/manifest/manifest.ts';
import { testManifest } from '../../test/support/manifests.ts';
import { targetsOf } from './target.ts';
import {
  admitVote,
  encodeVote,
  freshVotes,
  openVote,
  parseVote,
  SIGNED_VOTE_BYTES_MAX,
  signVote,
  type Vote,
  type VoteBook,
  type VoteKeys,
  voteKeysOf,
} from './vote.ts';

const names = ['aws', 'gcp', 'hetzner'] as const;
let manifest: Manifest;
let keys: VoteKeys;
const privateKeys = new Map<string, CryptoKey>();

beforeAll(async () => {
  const base = testManifest(names);
  const sites = await Promise.all(
    base.sites.map(async (site) => {
      const { keyPem, publicKey } = makeVoteKey();
      privateKeys.set(site.name, await importPKCS8(keyPem, 'EdDSA'));
      return {
        ...site,
        vantage: { ...site.vantage, voteKey: publicKey },
      };
    }),
  );
  manifest = { ...base, sites };
  keys = await voteKeysOf(manifest);
});

function voteOf(vantage: string, over: Partial<Vote> = {}): Vote {
  return {
    vantage,
    bootEpoch: 100,
    sequence: 1,
    manifestVersion: 7,
    isolated: false,
    outside: false,
    verdicts: targetsOf(testManifest(names)).map((target) => ({
      ...target,
      verdict: 'up' as const,
      observationsToChange: 3,
      strained: false,
    })),
    ...over,
  };
}

async function signed(vote: Vote, by: string = vote.vantage): Promise<string> {
  const key = privateKeys.get(by);
  if (key === undefined) throw new Error(`no key of ${by}`);
  return signVote(vote, key);
}

const anyVote: fc.Arbitrary<Vote> = fc.record({
  vantage: fc.stringMatching(/^[a-z][a-z0-9-]{0,15}$/),
  bootEpoch: fc.maxSafeNat(),
  sequence: fc.maxSafeNat(),
  manifestVersion: fc.maxSafeNat(),
  isolated: fc.boolean(),
  outside: fc.boolean(),
  verdicts: fc.array(
    fc.record({
      site: fc.stringMatching(/^[a-z][a-z0-9-]{0,15}$/),
      family: fc.constantFrom('ipv4' as const, 'ipv6' as const),
      verdict: fc.constantFrom('up' as const, 'down' as const, 'unknown' as const),
      observationsToChange: fc.integer({ min: 1, max: 1_000_000 }),
      strained: fc.boolean(),
    }),
    { maxLength: 32 },
  ),
});

test('a vote reads back as what was written', () => {
  fc.assert(
    fc.property(anyVote, (vote) => {
      expect(parseVote(encodeVote(vote))).toEqual(vote);
    }),
  );
});

test('a vote has one encoding: every other text is refused, and none throws', () => {
  fc.assert(
    fc.property(anyVote, fc.nat(), fc.string({ minLength: 1, maxLength: 3 }), (vote, place, inserted) => {
      const text = encodeVote(vote);
      const at = place % (text.length + 1);
      const changed = text.slice(0, at) + inserted + text.slice(at);
      const parsed = parseVote(changed);
      if (parsed !== undefined) expect(encodeVote(parsed)).toBe(changed);
    }),
  );
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect(parseVote(JSON.stringify(value))).toBeUndefined();
    }),
  );
  for (const text of ['', 'null', '[]', '{', encodeVote(voteOf('aws')).replace('{', '{"more":1,')]) {
    expect(parseVote(text)).toBeUndefined();
  }
  const shuffled = JSON.stringify(
    Object.fromEntries(Object.entries(JSON.parse(encodeVote(voteOf('aws'))) as object).toReversed()),
  );
  expect(parseVote(shuffled)).toBeUndefined();
});

test('a vote of the largest fleet stays below the limit of what is received', async () => {
  const many = testManifest(
    Array.from({ length: 16 }, (_, index) => `provider-site-${index}`.slice(0, 16).padEnd(16, 'x')),
    { ipv6: true },
  );
  const verdicts = targetsOf(many).map((target) => ({
    ...target,
    verdict: 'unknown' as const,
    observationsToChange: 1_000_000,
    strained: true,
  }));
  const jws = await signed(voteOf('aws', { verdicts, bootEpoch: Number.MAX_SAFE_INTEGER }));
  expect(jws.length).toBeLessThan(SIGNED_VOTE_BYTES_MAX);
});

test('a signed vote opens with the key of its vantage and with no other', async () => {
  const jws = await signed(voteOf('aws'));
  expect(await openVote(jws, 'aws', keys)).toStrictEqual({ ok: true, value: voteOf('aws') });
  expect(await openVote(jws, 'gcp', keys)).toStrictEqual({ ok: false, fault: 'signature_invalid' });
  expect(await openVote(jws, 'azure', keys)).toStrictEqual({ ok: false, fault: 'vantage_unknown' });
  expect(await openVote(`${jws.slice(0, -4)}AAAA`, 'aws', keys)).toMatchObject({
    fault: 'signature_invalid',
  });
  expect(await openVote('', 'aws', keys)).toMatchObject({ fault: 'signature_invalid' });
});

test("a vantage cannot vote in another's name", async () => {
  const forged = await signed(voteOf('aws'), 'gcp');
  expect(await openVote(forged, 'gcp', keys)).toStrictEqual({ ok: false, fault: 'sender_mismatch' });
});

test('a vote counts only if it is later than the last one of its vantage', () => {
  const first = admit(new Map(), { bootEpoch: 100, sequence: 5 });
  if (!first.ok) throw new Error(first.fault);
  for (const [bootEpoch, sequence] of [
    [100, 5],
    [100, 4],
    [99, 6],
  ] as const) {
    expect(admit(first.value, { bootEpoch, sequence })).toStrictEqual({ ok: false, fault: 'replayed' });
  }
  expect(admit(first.value, { bootEpoch: 100, sequence: 6 }).ok).toBe(true);
  expect(admit(first.value, { bootEpoch: 101, sequence: 0 }).ok).toBe(true);
});

function admit(book: VoteBook, over: Partial<Vote>): ReturnType<typeof admitVote> {
  return admitVote(book, { vote: voteOf('gcp', over), signed: '', arrivedMs: 0 }, manifest);
}

test('a vote guards against replay long after it has stopped to count', () => {
  const first = admitVote(new Map(), { vote: voteOf('gcp'), signed: '', arrivedMs: 0 }, manifest);
  if (!first.ok) throw new Error(first.fault);
  const laterMs = manifest.health.voteFreshMs * 100;
  expect(freshVotes(first.value, laterMs, manifest)).toStrictEqual([]);
  const again = admitVote(first.value, { vote: voteOf('gcp'), signed: '', arrivedMs: laterMs }, manifest);
  expect(again).toStrictEqual({ ok: false, fault: 'replayed' });
});

test('a vote is fresh for voteFreshMs from its arrival', () => {
  const admitted = admitVote(new Map(), { vote: voteOf('gcp'), signed: '', arrivedMs: 1000 }, manifest);
  if (!admitted.ok) throw new Error(admitted.fault);
  expect(freshVotes(admitted.value, 1000 + 5999, manifest)).toHaveLength(1);
  expect(freshVotes(admitted.value, 1000 + 6000, manifest)).toHaveLength(0);
  expect(freshVotes(admitted.value, 1000, { ...manifest, version: 8 })).toHaveLength(0);
});

test('a vote of another manifest, or about other targets, is refused by name', () => {
  const refusal = (over: Partial<Vote>) =>
    admitVote(new Map(), { vote: voteOf('gcp', over), signed: '', arrivedMs: 0 }, manifest);
  expect(refusal({ manifestVersion: 6 })).toStrictEqual({ ok: false, fault: 'manifest_older' });
  expect(refusal({ manifestVersion: 8 })).toStrictEqual({ ok: false, fault: 'manifest_newer' });
  expect(refusal({ vantage: 'azure' })).toStrictEqual({ ok: false, fault: 'vantage_unknown' });
  expect(refusal({ verdicts: [] })).toStrictEqual({ ok: false, fault: 'targets_mismatch' });
  const doubled = voteOf('gcp').verdicts.map((verdict, _, all) => ({ ...(all[0] ?? verdict) }));
  expect(refusal({ verdicts: doubled })).toStrictEqual({ ok: false, fault: 'targets_mismatch' });
});
