/**
 * SipHash-2-4, the keyed hash that DNS cookies are made with (RFC 9018 §4.4), in 32-bit halves because BigInt is
 * a hundred times slower and this runs for every query that carries a cookie. Node's crypto has no SipHash.
 */

/**
 * Writes the 8 bytes of SipHash-2-4(key of 16 bytes; the first `length` bytes of `input`) to `out` at `at`. One loop
 * over local variables: a state in memory, or a function for each round, takes half as long again.
 */
export function sipHash24(
  key: Uint8Array,
  input: Uint8Array,
  length: number,
  out: Uint8Array,
  at: number,
): void {
  let v0h = word(key, 4) ^ 0x736f6d65;
  let v0l = word(key, 0) ^ 0x70736575;
  let v1h = word(key, 12) ^ 0x646f7261;
  let v1l = word(key, 8) ^ 0x6e646f6d;
  let v2h = word(key, 4) ^ 0x6c796765;
  let v2l = word(key, 0) ^ 0x6e657261;
  let v3h = word(key, 12) ^ 0x74656462;
  let v3l = word(key, 8) ^ 0x79746573;
  // Every 8 bytes, then what is left with the length above it, then the finalization.
  const last = length >>> 3;
  for (let block = 0; block <= last + 1; block += 1) {
    const from = 8 * block;
    let low = 0;
    let high = 0;
    if (block < last) {
      low = word(input, from);
      high = word(input, from + 4);
    } else if (block === last) {
      low = partOfWord(input, from, length);
      high = partOfWord(input, from + 4, length) | ((length & 0xff) << 24);
    } else v2l ^= 0xff;
    v3h ^= high;
    v3l ^= low;
    for (let round = block > last ? 4 : 2; round > 0; round -= 1) {
      let swap = 0;
      // v0 += v1; v1 = rotl(v1, 13) ^ v0; v0 = rotl(v0, 32)
      v0l = (v0l + v1l) | 0;
      v0h = (v0h + v1h + (v0l >>> 0 < v1l >>> 0 ? 1 : 0)) | 0;
      swap = (v1h << 13) | (v1l >>> 19);
      v1l = ((v1l << 13) | (v1h >>> 19)) ^ v0l;
      v1h = swap ^ v0h;
      swap = v0l;
      v0l = v0h;
      v0h = swap;
      // v2 += v3; v3 = rotl(v3, 16) ^ v2
      v2l = (v2l + v3l) | 0;
      v2h = (v2h + v3h + (v2l >>> 0 < v3l >>> 0 ? 1 : 0)) | 0;
      swap = (v3h << 16) | (v3l >>> 16);
      v3l = ((v3l << 16) | (v3h >>> 16)) ^ v2l;
      v3h = swap ^ v2h;
      // v0 += v3; v3 = rotl(v3, 21) ^ v0
      v0l = (v0l + v3l) | 0;
      v0h = (v0h + v3h + (v0l >>> 0 < v3l >>> 0 ? 1 : 0)) | 0;
      swap = (v3h << 21) | (v3l >>> 11);
      v3l = ((v3l << 21) | (v3h >>> 11)) ^ v0l;
      v3h = swap ^ v0h;
      // v2 += v1; v1 = rotl(v1, 17) ^ v2; v2 = rotl(v2, 32)
      v2l = (v2l + v1l) | 0;
      v2h = (v2h + v1h + (v2l >>> 0 < v1l >>> 0 ? 1 : 0)) | 0;
      swap = (v1h << 17) | (v1l >>> 15);
      v1l = ((v1l << 17) | (v1h >>> 15)) ^ v2l;
      v1h = swap ^ v2h;
      swap = v2l;
      v2l = v2h;
      v2h = swap;
    }
    v0h ^= high;
    v0l ^= low;
  }
  const hashLow = v0l ^ v1l ^ v2l ^ v3l;
  const hashHigh = v0h ^ v1h ^ v2h ^ v3h;
  for (let index = 0; index < 4; index += 1) {
    out[at + index] = (hashLow >>> (8 * index)) & 0xff;
    out[at + 4 + index] = (hashHigh >>> (8 * index)) & 0xff;
  }
}

/** Four bytes, little-endian. */
function word(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] ?? 0) |
    ((bytes[at + 1] ?? 0) << 8) |
    ((bytes[at + 2] ?? 0) << 16) |
    ((bytes[at + 3] ?? 0) << 24)
  );
}

/** The same, of those that are before `end`. */
function partOfWord(bytes: Uint8Array, at: number, end: number): number {
  let value = 0;
  for (let index = at; index < Math.min(end, at + 4); index += 1) {
    value |= (bytes[index] ?? 0) << (8 * (index - at));
  }
  return value;
}
