/**
 * A vote: what one vantage says of every target, signed with its vote key (compact JWS, RFC 7515, EdDSA), so that
 * it can be believed now and shown later.
 *
 * Its text is canonical: there is exactly one encoding of a vote, and the parser refuses every other. A vote is
 * dated by (boot epoch, sequence), which must grow, and never by a clock of the sender: it ages from its arrival on
 * the receiver's monotonic clock.
 */
import { CompactSign, type CryptoKey, compactVerify, importJWK } from 'jose';
import { type Manifest, type SiteName, vantagesOf } from '../../fleet/manifest/manifest.ts';
import { fail, ok, type Result } from '../../system/result.ts';
import type { Verdict } from './detector.ts';
import { keyOf, type Target, type TargetKey, targetsOf } from './target.ts';

interface TargetVerdict extends Target {
  readonly verdict: Verdict;
  /** The fewest further observations after which this verdict could change. */
  readonly observationsToChange: number;
  /** It serves, and is at its limit: `capacity.ts`. */
  readonly strained: boolean;
}

/** A vote before it is dated and signed. */
export type Stance = Omit<Vote, 'bootEpoch' | 'sequence'>;

export interface Vote {
  readonly vantage: SiteName;
  /** Grows with every start of the vantage. */
  readonly bootEpoch: number;
  /** Grows with every vote since that start. */
  readonly sequence: number;
  readonly manifestVersion: number;
  /** The vantage hears no other provider; all its verdicts are unknown. */
  readonly isolated: boolean;
  /** It reaches a canary outside the fleet. */
  readonly outside: boolean;
  /** One for every target of the manifest, in its order. */
  readonly verdicts: readonly TargetVerdict[];
}

export const VOTE_REFUSALS = [
  'malformed',
  'signature_invalid',
  'vantage_unknown',
  'sender_mismatch',
  'manifest_older',
  'manifest_newer',
  'targets_mismatch',
  'replayed',
] as const;
export type VoteRefusal = (typeof VOTE_REFUSALS)[number];

/** A vote of 32 targets has about 3 KiB; its JWS is a third longer. */
export const SIGNED_VOTE_BYTES_MAX = 16_384;
const OBSERVATIONS_MAX = 1_000_000;
const TYPE = 'archipelago-vote+json';
const STRAINED = 'strained';

/** The one encoding of a vote. */
export function encodeVote(vote: Vote): string {
  return JSON.stringify({
    vantage: vote.vantage,
    bootEpoch: vote.bootEpoch,
    sequence: vote.sequence,
    manifestVersion: vote.manifestVersion,
    isolated: vote.isolated,
    outside: vote.outside,
    verdicts: vote.verdicts.map(({ site, family, verdict, observationsToChange, strained }) => [
      site,
      family,
      verdict,
      observationsToChange,
      ...(strained ? [STRAINED] : []),
    ]),
  });
}

/** The vote that `text` is the one encoding of, or undefined. Never throws. */
export function parseVote(text: string): Vote | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { vantage, bootEpoch, sequence, manifestVersion, isolated, outside, verdicts } = value as Record<
    string,
    unknown
  >;
  if (typeof vantage !== 'string' || !Array.isArray(verdicts)) return undefined;
  if (typeof isolated !== 'boolean' || typeof outside !== 'boolean') return undefined;
  if (!isCount(bootEpoch) || !isCount(sequence) || !isCount(manifestVersion)) return undefined;
  const parsed = verdicts.map(parseVerdict).filter((entry) => entry !== undefined);
  const vote: Vote = { vantage, bootEpoch, sequence, manifestVersion, isolated, outside, verdicts: parsed };
  // Refuses whatever was left out above: other fields, another order, white space, repeated keys.
  return encodeVote(vote) === text ? vote : undefined;
}

/** Signs a vote with the vantage's vote key. */
export async function signVote(vote: Vote, privateKey: CryptoKey): Promise<string> {
  return new CompactSign(new TextEncoder().encode(encodeVote(vote)))
    .setProtectedHeader({ alg: 'EdDSA', typ: TYPE })
    .sign(privateKey);
}

export type VoteKeys = ReadonlyMap<SiteName, CryptoKey>;

/** The vote keys of all vantages, ready for verification. */
export async function voteKeysOf(manifest: Manifest): Promise<VoteKeys> {
  const keys = new Map<SiteName, CryptoKey>();
  for (const { name, vantage } of vantagesOf(manifest)) {
    const key = await importJWK({ kty: 'OKP', crv: 'Ed25519', x: vantage.voteKey }, 'EdDSA');
    if (key instanceof Uint8Array) throw new TypeError('an Ed25519 key was read as a symmetric one');
    keys.set(name, key);
  }
  return keys;
}

/**
 * Verifies and parses a signed vote that arrived from the vantage `sender`, which the connection has proved. Only
 * its own vote is taken from it: otherwise one lying vantage could replay another's old vote to a receiver that has
 * just started and remembers no sequence.
 */
export async function openVote(
  signed: string,
  sender: SiteName,
  keys: VoteKeys,
): Promise<Result<Vote, VoteRefusal>> {
  const key = keys.get(sender);
  if (key === undefined) return fail('vantage_unknown');
  let text: string;
  try {
    const opened = await compactVerify(signed, key, { algorithms: ['EdDSA'] });
    if (opened.protectedHeader.typ !== TYPE) return fail('malformed');
    text = new TextDecoder('utf-8', { fatal: true }).decode(opened.payload);
  } catch {
    return fail('signature_invalid');
  }
  const vote = parseVote(text);
  if (vote === undefined) return fail('malformed');
  return vote.vantage === sender ? ok(vote) : fail('sender_mismatch');
}

export interface ReceivedVote {
  readonly vote: Vote;
  /** As it arrived, for whoever asks later why. */
  readonly signed: string;
  /** By the receiver's monotonic clock, milliseconds. */
  readonly arrivedMs: number;
}

/** The newest vote of each other vantage, fresh or not: an old one still guards against replay. */
export type VoteBook = ReadonlyMap<SiteName, ReceivedVote>;

/** The book with one more vote in it, or why the vote is not taken. */
export function admitVote(
  book: VoteBook,
  received: ReceivedVote,
  manifest: Manifest,
): Result<VoteBook, VoteRefusal> {
  const { vote } = received;
  if (!vantagesOf(manifest).some(({ name }) => name === vote.vantage)) return fail('vantage_unknown');
  if (vote.manifestVersion < manifest.version) return fail('manifest_older');
  if (vote.manifestVersion > manifest.version) return fail('manifest_newer');
  const expected: readonly TargetKey[] = targetsOf(manifest).map(keyOf);
  if (
    vote.verdicts.length !== expected.length ||
    !vote.verdicts.every((verdict, index) => keyOf(verdict) === expected[index])
  ) {
    return fail('targets_mismatch');
  }
  const newest = book.get(vote.vantage)?.vote;
  if (newest !== undefined && !isLater(vote, newest)) return fail('replayed');
  return ok(new Map(book).set(vote.vantage, received));
}

/** The votes in the book that speak of this manifest and arrived less than `voteFreshMs` ago. */
export function freshVotes(book: VoteBook, nowMs: number, manifest: Manifest): readonly ReceivedVote[] {
  return [...book.values()].filter(
    ({ vote, arrivedMs }) =>
      vote.manifestVersion === manifest.version && nowMs - arrivedMs < manifest.health.voteFreshMs,
  );
}

function isLater(vote: Vote, than: Vote): boolean {
  return (
    vote.bootEpoch > than.bootEpoch || (vote.bootEpoch === than.bootEpoch && vote.sequence > than.sequence)
  );
}

function parseVerdict(entry: unknown): TargetVerdict | undefined {
  if (!Array.isArray(entry)) return undefined;
  const [site, family, verdict, observationsToChange, strained]: unknown[] = entry;
  if (typeof site !== 'string' || (family !== 'ipv4' && family !== 'ipv6')) return undefined;
  if (verdict !== 'up' && verdict !== 'down' && verdict !== 'unknown') return undefined;
  if (!isCount(observationsToChange) || observationsToChange < 1) return undefined;
  return observationsToChange > OBSERVATIONS_MAX
    ? undefined
    : { site, family, verdict, observationsToChange, strained: strained === STRAINED };
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
