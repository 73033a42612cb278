/**
 * Digests: how two sites find out in a few kilobytes whether they hold the same things, and which they do not.
 *
 * The members of a partition fall into 64 slices by their id. A slice's digest is the sum of the weights of its
 * members, so it changes with every insert and delete by one addition, in whatever order they come, and two sites
 * that hold the same have the same sums. Ids are hashes, so 40 bits of an id are a weight nobody can aim at.
 *
 * What is about to expire is left out, by a time that the asking site chooses for both: otherwise sites that sweep
 * at different moments would never agree. A tombstone's expiry is not part of its weight, because sites may
 * remember the same one for different lengths of time; a message's is, because it is the same everywhere.
 */
import type { Reference } from './reference.ts';

export const SLICES = 64;
/** One sum for each slice, modulo 2^64. */
export type Digest = readonly bigint[];

/** The slice of a thing, 0 to 63: the last six bits of its id. */
export function sliceOf({ id }: Pick<Reference, 'id'>): number {
  return (Buffer.from(id, 'base64url').at(-1) ?? 0) % SLICES;
}

/** What a thing adds to its slice; the scripts of the Redis store reckon the same. */
export function weightOf({ kind, id }: Reference, untilMs: number): bigint {
  const raw = Buffer.from(id, 'base64url');
  const base = raw.length < 5 ? 0 : raw.readUIntBE(0, 5);
  return BigInt(base) + (kind === 'message' ? BigInt(untilMs) : 0n);
}

/** The digest of nothing, to add to. */
export function emptyDigest(): bigint[] {
  return Array.from({ length: SLICES }, () => 0n);
}

/** All slices in one number, for a first comparison. */
export function totalOf(digest: Digest): bigint {
  // Slices are weighted by their place, so that two faults in different slices do not cancel out.
  return digest.reduce(
    (total, sum, slice) => BigInt.asUintN(64, total + BigInt.asUintN(64, sum) * BigInt(2 * slice + 1)),
    0n,
  );
}

/** The slices in which two digests differ. */
export function differingSlices(one: Digest, other: Digest): readonly number[] {
  return Array.from({ length: SLICES }, (_, slice) => slice).filter(
    (slice) => BigInt.asUintN(64, one[slice] ?? 0n) !== BigInt.asUintN(64, other[slice] ?? 0n),
  );
}
