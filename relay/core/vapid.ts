/**
 * Voluntary application server identification (RFC 8292): a sender signs a short-lived JWT (RFC 7519, ES256) for the
 * origin it posts to, and a push URL that was made for one sender's key takes messages from no other.
 *
 * The cheap checks come first, the signature last, so that only the sender that a push URL was made for can make a
 * relay verify anything. Whoever fails learns about what it sent itself and nothing else.
 */
import { createHash, createPublicKey, type KeyObject, timingSafeEqual, verify } from 'node:crypto';
import { fail, ok, type Result } from '../../system/result.ts';

export type VapidFault =
  | 'vapid_missing'
  | 'vapid_malformed'
  | 'vapid_key_wrong'
  | 'vapid_audience_wrong'
  | 'vapid_expired'
  | 'vapid_signature_wrong';

/** What a sender claims, before its signature is verified. */
export interface VapidClaim {
  /** The uncompressed P-256 point of the sender's key, 65 bytes. */
  readonly publicKey: Uint8Array;
  /** Origins the token is for. */
  readonly audiences: readonly string[];
  /** Wall clock, seconds. */
  readonly expiresSeconds: number;
  readonly signed: string;
  /** r and s, 64 bytes. */
  readonly signature: Uint8Array;
}

/** What a push URL and a relay demand. */
export interface VapidDemand {
  readonly keyHash: Uint8Array;
  readonly audiences: readonly string[];
  readonly nowSeconds: number;
}

const POINT_BYTES = 65;
const SIGNATURE_BYTES = 64;
const HEADER_CHARACTERS_MAX = 4096;
/** How far ahead a token may expire (RFC 8292 §2). */
export const SECONDS_AHEAD_MAX: number = 24 * 3600;
/** How far the clocks of sender and relay may differ. */
export const CLOCK_TOLERANCE_SECONDS = 60;

/** Reads an `Authorization` header of the scheme `vapid` (RFC 8292 §3). Never throws. */
export function parseVapid(authorization: string | undefined): Result<VapidClaim, VapidFault> {
  const scheme = /^vapid +/i.exec(authorization ?? '');
  if (authorization === undefined || scheme === null) return fail('vapid_missing');
  if (authorization.length > HEADER_CHARACTERS_MAX) return fail('vapid_malformed');
  const parameters = new Map<string, string>();
  for (const part of authorization.slice(scheme[0].length).split(',')) {
    const [, name, quoted, plain] = /^\s*([a-z]+)=(?:"([^"]*)"|([^\s"]*))\s*$/i.exec(part) ?? [];
    const known = name?.toLowerCase();
    if (known === undefined || parameters.has(known)) return fail('vapid_malformed');
    parameters.set(known, quoted ?? plain ?? '');
  }
  const publicKey = parsePublicKey(parameters.get('k') ?? '');
  const [header = '', payload = '', signature = '', ...more] = (parameters.get('t') ?? '').split('.');
  const { alg } = jsonIn(header);
  const { aud, exp } = jsonIn(payload);
  const signatureBytes = bytesIn(signature);
  const fits = more.length === 0 && alg === 'ES256' && typeof exp === 'number';
  if (!fits || publicKey === undefined || signatureBytes.length !== SIGNATURE_BYTES) {
    return fail('vapid_malformed');
  }
  const audiences = (Array.isArray(aud) ? aud : [aud]).filter((one) => typeof one === 'string');
  return ok({
    publicKey,
    audiences,
    expiresSeconds: exp,
    signed: `${header}.${payload}`,
    signature: signatureBytes,
  });
}

/** Everything but the signature. */
export function checkClaim(claim: VapidClaim, demand: VapidDemand): VapidFault | undefined {
  if (!timingSafeEqual(vapidKeyHashOf(claim.publicKey), demand.keyHash)) return 'vapid_key_wrong';
  const origins = claim.audiences.map((audience) => URL.parse(audience)?.origin);
  if (!origins.some((origin) => origin !== undefined && demand.audiences.includes(origin))) {
    return 'vapid_audience_wrong';
  }
  const leftSeconds = claim.expiresSeconds - demand.nowSeconds;
  const isInTime =
    leftSeconds > -CLOCK_TOLERANCE_SECONDS && leftSeconds <= SECONDS_AHEAD_MAX + CLOCK_TOLERANCE_SECONDS;
  return isInTime ? undefined : 'vapid_expired';
}

/** Whether the key of the claim signed it. */
export function isSigned(claim: VapidClaim): boolean {
  const key = importKey(claim.publicKey);
  if (key === undefined) return false;
  return verify(
    'sha256',
    Buffer.from(claim.signed, 'latin1'),
    { key, dsaEncoding: 'ieee-p1363' },
    claim.signature,
  );
}

/** The point of an uncompressed P-256 public key in base64url, or undefined when it is none. */
export function parsePublicKey(text: string): Uint8Array | undefined {
  const point = bytesIn(text.replace(/=+$/, ''));
  return point.length === POINT_BYTES && importKey(point) !== undefined ? point : undefined;
}

/** What a push URL remembers of the only sender that may use it. */
export function vapidKeyHashOf(publicKey: Uint8Array): Uint8Array {
  return createHash('sha256').update(publicKey).digest();
}

function importKey(point: Uint8Array): KeyObject | undefined {
  if (point[0] !== 4) return undefined;
  const x = Buffer.from(point.subarray(1, 33)).toString('base64url');
  const y = Buffer.from(point.subarray(33)).toString('base64url');
  try {
    return createPublicKey({ key: { kty: 'EC', crv: 'P-256', x, y }, format: 'jwk' });
  } catch {
    // Not a point of the curve.
    return undefined;
  }
}

/** The bytes of base64url in its only spelling; none for anything else. */
function bytesIn(text: string): Buffer {
  const bytes = Buffer.from(text, 'base64url');
  return bytes.toString('base64url') === text ? bytes : Buffer.alloc(0);
}

function jsonIn(part: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(bytesIn(part).toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    // Not JSON: it claims nothing.
    return {};
  }
}
