/**
 * DNS cookies (RFC 7873) with the interoperable server cookie of RFC 9018: version, time, and a SipHash over the
 * client's cookie, both, and the client's address. Whoever returns one has received our packets at that address, so
 * it cannot be the victim of somebody else's forged queries.
 */
import { sipHash24 } from './siphash.ts';

export const CLIENT_COOKIE_BYTES = 8;
/** Client and server cookie together, as they stand in an option. */
export const COOKIE_BYTES = 24;
export const COOKIE_SECRET_BYTES = 16;

/** The secrets that cookies are checked against; the first one makes new cookies. 16 bytes each, at least one. */
export type CookieSecrets = readonly Uint8Array[];

/** RFC 9018 §4.3: accepted for an hour and five minutes into the future, replaced after half an hour. */
const AGE_SECONDS_MAX = 3600;
const FUTURE_SECONDS_MAX = 300;
const RENEW_AFTER_SECONDS = 1800;

const VERSION = 1;
const SERVER_AT = CLIENT_COOKIE_BYTES;
const TIME_AT = 12;
const HASH_AT = 16;

/** Client cookie, version, reserved, time, and an address of up to 16 bytes; filled anew for each hash. */
const hashed = new Uint8Array(HASH_AT + 16);
const expected = new Uint8Array(8);

/**
 * What to answer to the cookie option at `packet[at]`, `length` bytes long (8, or 16 to 40: RFC 7873 §4). Writes the
 * 24 bytes of the reply's cookie to `out` and says whether the server cookie in it was ours. `source` is the address
 * of whoever asks, 4 or 16 bytes; `nowSeconds` since 1970.
 */
export function answerCookie(
  packet: Uint8Array,
  at: number,
  length: number,
  { source, nowSeconds, secrets }: CookieContext,
  out: Uint8Array,
): boolean {
  let isOurs = false;
  let ageSeconds = 0;
  if (length === COOKIE_BYTES && packet[at + SERVER_AT] === VERSION) {
    // Serial arithmetic (RFC 9018 §4.3): right also when the 32 bits of the time have run over.
    const made =
      ((packet[at + TIME_AT] ?? 0) << 24) |
      ((packet[at + TIME_AT + 1] ?? 0) << 16) |
      ((packet[at + TIME_AT + 2] ?? 0) << 8) |
      (packet[at + TIME_AT + 3] ?? 0);
    ageSeconds = ((nowSeconds | 0) - made) | 0;
    isOurs =
      ageSeconds <= AGE_SECONDS_MAX &&
      ageSeconds >= -FUTURE_SECONDS_MAX &&
      secrets.some((secret) => verifies(packet, at, source, secret));
  }
  if (isOurs && ageSeconds <= RENEW_AFTER_SECONDS) {
    for (let index = 0; index < COOKIE_BYTES; index += 1) out[index] = packet[at + index] ?? 0;
    return true;
  }
  for (let index = 0; index < CLIENT_COOKIE_BYTES; index += 1) out[index] = packet[at + index] ?? 0;
  out[SERVER_AT] = VERSION;
  for (let index = SERVER_AT + 1; index < TIME_AT; index += 1) out[index] = 0;
  for (let index = 0; index < 4; index += 1) out[TIME_AT + index] = (nowSeconds >>> (24 - 8 * index)) & 0xff;
  const [secret] = secrets;
  if (secret !== undefined) hash(out, 0, source, secret, out, HASH_AT);
  return isOurs;
}

export interface CookieContext {
  readonly source: Uint8Array;
  readonly nowSeconds: number;
  readonly secrets: CookieSecrets;
}

/** Compares in constant time: how long it takes tells a forger nothing about how many bytes were right. */
function verifies(packet: Uint8Array, at: number, source: Uint8Array, secret: Uint8Array): boolean {
  hash(packet, at, source, secret, expected, 0);
  let difference = 0;
  for (let index = 0; index < 8; index += 1) {
    difference |= (expected[index] ?? 0) ^ (packet[at + HASH_AT + index] ?? 0);
  }
  return difference === 0;
}

/** The hash over the 16 bytes of a cookie that come before it, and the address. */
function hash(
  cookie: Uint8Array,
  from: number,
  source: Uint8Array,
  secret: Uint8Array,
  out: Uint8Array,
  at: number,
): void {
  for (let index = 0; index < HASH_AT; index += 1) hashed[index] = cookie[from + index] ?? 0;
  for (let index = 0; index < source.length; index += 1) hashed[HASH_AT + index] = source[index] ?? 0;
  sipHash24(secret, hashed, HASH_AT + source.length, out, at);
}
