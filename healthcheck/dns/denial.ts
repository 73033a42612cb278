/**
 * Authenticated denial with NSEC (RFC 4034 §4, §6.1; RFC 4035 §3.1.3): the names of the zone in canonical order, each
 * with the next one and the types it has. NSEC and not NSEC3: the names of a fleet are no secret, and a chain that is
 * made when the zone changes costs no hashing when somebody floods us with random names.
 */
import { encodeName } from './name.ts';
import { lower } from './name-table.ts';

/** Where the labels of a name begin, the root's excluded. A name has at most 127. */
const startsOfA = new Uint8Array(128);
const startsOfB = new Uint8Array(128);

/** Canonical order of two uncompressed names, in any case: negative, 0 or positive. */
export function compareNames(
  a: Uint8Array,
  aStart: number,
  aEnd: number,
  b: Uint8Array,
  bStart: number,
  bEnd: number,
): number {
  let left = labelStarts(a, aStart, aEnd, startsOfA);
  let right = labelStarts(b, bStart, bEnd, startsOfB);
  while (left > 0 && right > 0) {
    left -= 1;
    right -= 1;
    const order = compareLabels(a, aStart + (startsOfA[left] ?? 0), b, bStart + (startsOfB[right] ?? 0));
    if (order !== 0) return order;
  }
  return left - right;
}

/** Names as text, in canonical order. */
export function sortNames(names: readonly string[]): readonly string[] {
  return names
    .map((name) => ({ name, wire: encodeName(name) }))
    .sort((a, b) => compareNames(a.wire, 0, a.wire.length, b.wire, 0, b.wire.length))
    .map(({ name }) => name);
}

/** The greatest of `owners`, which are in canonical order and begin with the apex, that is not after this name. */
export function coveringOwner(
  owners: readonly Uint8Array[],
  bytes: Uint8Array,
  start: number,
  end: number,
): number {
  let low = 0;
  let high = owners.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    const owner = owners[middle];
    if (owner !== undefined && compareNames(owner, 0, owner.length, bytes, start, end) <= 0) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** The data of an NSEC record: the next owner, uncompressed, and the types as a bitmap (RFC 4034 §4.1). */
export function nsecData(next: Uint8Array, types: readonly number[]): Uint8Array {
  const windows = Map.groupBy(
    [...types].sort((a, b) => a - b),
    (type) => type >> 8,
  );
  const bitmaps = [...windows].flatMap(([window, members]) => {
    const bits = new Uint8Array(((Math.max(...members) & 0xff) >> 3) + 1);
    for (const type of members)
      bits[(type & 0xff) >> 3] = (bits[(type & 0xff) >> 3] ?? 0) | (0x80 >> (type & 7));
    return [window, bits.length, ...bits];
  });
  return Uint8Array.from([...next, ...bitmaps]);
}

function labelStarts(bytes: Uint8Array, start: number, end: number, starts: Uint8Array): number {
  let count = 0;
  let at = start;
  while (at < end - 1 && count < starts.length) {
    starts[count] = at - start;
    count += 1;
    at += (bytes[at] ?? 0) + 1;
  }
  return count;
}

function compareLabels(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number): number {
  const aLength = a[aAt] ?? 0;
  const bLength = b[bAt] ?? 0;
  const both = Math.min(aLength, bLength);
  for (let index = 1; index <= both; index += 1) {
    const order = lower(a[aAt + index] ?? 0) - lower(b[bAt + index] ?? 0);
    if (order !== 0) return order;
  }
  return aLength - bLength;
}
