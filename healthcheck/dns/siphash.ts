/**
 * SipHash-2-4, the keyed hash that DNS cookies are made with (RFC 9018 §4.4), in 32-bit halves because BigInt is
 * a hundred times slower and this runs for every query that carries a cookie. Node's crypto has no SipHash.
 */

/** v0 to v3, each as high and low half. Nothing survives a call in it. */
const v = new Int32Array(8);

/** Writes the 8 bytes of SipHash-2-4(key of 16 bytes; the first `length` bytes of `input`) to `out` at `at`. */
export function sipHash24(
  key: Uint8Array,
  input: Uint8Array,
  length: number,
  out: Uint8Array,
  at: number,
): void {
  const k0l = wholeWord(key, 0);
  const k0h = wholeWord(key, 4);
  const k1l = wholeWord(key, 8);
  const k1h = wholeWord(key, 12);
  v[0] = k0h ^ 0x736f6d65;
  v[1] = k0l ^ 0x70736575;
  v[2] = k1h ^ 0x646f7261;
  v[3] = k1l ^ 0x6e646f6d;
  v[4] = k0h ^ 0x6c796765;
  v[5] = k0l ^ 0x6e657261;
  v[6] = k1h ^ 0x74656462;
  v[7] = k1l ^ 0x79746573;
  const whole = length - (length % 8);
  for (let from = 0; from < whole; from += 8) absorb(wholeWord(input, from + 4), wholeWord(input, from));
  const left = length - whole;
  const low = word(input, whole, Math.min(left, 4));
  const high = word(input, whole + 4, Math.max(0, left - 4)) | ((length & 0xff) << 24);
  absorb(high, low);
  v[5] = (v[5] ?? 0) ^ 0xff;
  for (let index = 0; index < 4; index += 1) round();
  const hashLow = (v[1] ?? 0) ^ (v[3] ?? 0) ^ (v[5] ?? 0) ^ (v[7] ?? 0);
  const hashHigh = (v[0] ?? 0) ^ (v[2] ?? 0) ^ (v[4] ?? 0) ^ (v[6] ?? 0);
  for (let index = 0; index < 4; index += 1) {
    out[at + index] = (hashLow >>> (8 * index)) & 0xff;
    out[at + 4 + index] = (hashHigh >>> (8 * index)) & 0xff;
  }
}

/** Four bytes, little-endian. */
function wholeWord(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] ?? 0) |
    ((bytes[at + 1] ?? 0) << 8) |
    ((bytes[at + 2] ?? 0) << 16) |
    ((bytes[at + 3] ?? 0) << 24)
  );
}

/** The same of fewer. */
function word(bytes: Uint8Array, at: number, length: number): number {
  let value = 0;
  for (let index = 0; index < length; index += 1) value |= (bytes[at + index] ?? 0) << (8 * index);
  return value;
}

function absorb(high: number, low: number): void {
  v[6] = (v[6] ?? 0) ^ high;
  v[7] = (v[7] ?? 0) ^ low;
  round();
  round();
  v[0] = (v[0] ?? 0) ^ high;
  v[1] = (v[1] ?? 0) ^ low;
}

function round(): void {
  let [v0h = 0, v0l = 0] = [v[0], v[1]];
  let [v1h = 0, v1l = 0] = [v[2], v[3]];
  let [v2h = 0, v2l = 0] = [v[4], v[5]];
  let [v3h = 0, v3l = 0] = [v[6], v[7]];
  let carry = 0;
  let high = 0;
  // v0 += v1; v1 = rotl(v1, 13) ^ v0; v0 = rotl(v0, 32)
  v0l = (v0l + v1l) | 0;
  carry = v0l >>> 0 < v1l >>> 0 ? 1 : 0;
  v0h = (v0h + v1h + carry) | 0;
  high = (v1h << 13) | (v1l >>> 19);
  v1l = ((v1l << 13) | (v1h >>> 19)) ^ v0l;
  v1h = high ^ v0h;
  high = v0l;
  v0l = v0h;
  v0h = high;
  // v2 += v3; v3 = rotl(v3, 16) ^ v2
  v2l = (v2l + v3l) | 0;
  carry = v2l >>> 0 < v3l >>> 0 ? 1 : 0;
  v2h = (v2h + v3h + carry) | 0;
  high = (v3h << 16) | (v3l >>> 16);
  v3l = ((v3l << 16) | (v3h >>> 16)) ^ v2l;
  v3h = high ^ v2h;
  // v0 += v3; v3 = rotl(v3, 21) ^ v0
  v0l = (v0l + v3l) | 0;
  carry = v0l >>> 0 < v3l >>> 0 ? 1 : 0;
  v0h = (v0h + v3h + carry) | 0;
  high = (v3h << 21) | (v3l >>> 11);
  v3l = ((v3l << 21) | (v3h >>> 11)) ^ v0l;
  v3h = high ^ v0h;
  // v2 += v1; v1 = rotl(v1, 17) ^ v2; v2 = rotl(v2, 32)
  v2l = (v2l + v1l) | 0;
  carry = v2l >>> 0 < v1l >>> 0 ? 1 : 0;
  v2h = (v2h + v1h + carry) | 0;
  high = (v1h << 17) | (v1l >>> 15);
  v1l = ((v1l << 17) | (v1h >>> 15)) ^ v2l;
  v1h = high ^ v2h;
  v[0] = v0h;
  v[1] = v0l;
  v[2] = v1h;
  v[3] = v1l;
  v[4] = v2l;
  v[5] = v2h;
  v[6] = v3h;
  v[7] = v3l;
}
