/**
 * Who a sender is, told to push services (VAPID, RFC 8292): a P-256 key pair of the sender's, and a token that it
 * signs for one origin and shows with every message for some hours. A push URL that was made for this key takes
 * messages from nobody else.
 */
import type { Clock } from '../system/clock.ts';
import { type Bytes, fromBase64url, toBase64url, utf8 } from './bytes.ts';
import { UsageError } from './errors.ts';

export interface VapidKey {
  /** Uncompressed P-256 point, 65 bytes as base64url: what browsers call `applicationServerKey`. */
  readonly publicKey: string;
  /**
   * The value of `Authorization` (RFC 8292 §3) for one origin, good for `VAPID_SECONDS` from `nowSeconds` since 1970.
   */
  authorization(audience: string, nowSeconds: number): Promise<string>;
  export(): Promise<VapidKeyExport>;
}

/** A VAPID key as JSON, the same as `generateVAPIDKeys` of npm `web-push`. Keep it like a private key. */
export interface VapidKeyExport {
  readonly publicKey: string;
  /** The scalar, 32 bytes as base64url. */
  readonly privateKey: string;
}

/** How long a token is good, in seconds; RFC 8292 §2 allows 24 hours, and half of it leaves room for wrong clocks. */
export const VAPID_SECONDS = 43_200;

const CURVE = { name: 'ECDSA', namedCurve: 'P-256' };
const SIGNING = { name: 'ECDSA', hash: 'SHA-256' };
const POINT_BYTES = 65;
const HEADER: string = toBase64url(utf8(JSON.stringify({ typ: 'JWT', alg: 'ES256' })));

/**
 * Makes a key pair. `subject` tells operators of push services whom to ask, as `mailto:` or `https:` (RFC 8292 §2.1);
 * a fleet of ours does not need it, some public services do. Throws `UsageError` (vapid_subject_malformed).
 */
export async function createVapidKey(subject?: string): Promise<VapidKey> {
  checkSubject(subject);
  const pair = await crypto.subtle.generateKey(CURVE, true, ['sign', 'verify']);
  const point = new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey));
  return assemble(pair.privateKey, point, subject);
}

/** The inverse of `export()`. Throws `UsageError` (vapid_key_malformed, vapid_subject_malformed). */
export async function importVapidKey(exported: VapidKeyExport, subject?: string): Promise<VapidKey> {
  checkSubject(subject);
  const point = fromBase64url(exported.publicKey);
  const scalar = fromBase64url(exported.privateKey);
  if (point?.length !== POINT_BYTES || scalar?.length !== 32) throw new UsageError('vapid_key_malformed');
  const jwk = {
    kty: 'EC',
    crv: 'P-256',
    x: toBase64url(point.subarray(1, 33)),
    y: toBase64url(point.subarray(33)),
    d: exported.privateKey,
  };
  try {
    return assemble(await crypto.subtle.importKey('jwk', jwk, CURVE, true, ['sign']), point, subject);
  } catch (error) {
    throw new UsageError('vapid_key_malformed', { cause: error });
  }
}

/**
 * Signs for one origin after the other and keeps what it signed, so that a relay sees the same token again and need
 * not verify it again. A token is signed anew when half of its time has passed.
 */
export function createVapidSigner(key: VapidKey, clock: Clock): (audience: string) => Promise<string> {
  const signed = new Map<string, { readonly header: Promise<string>; readonly untilSeconds: number }>();
  return (audience) => {
    const nowSeconds = Math.floor(clock.wallMs() / 1000);
    const known = signed.get(audience);
    if (known !== undefined && nowSeconds < known.untilSeconds) return known.header;
    const header = key.authorization(audience, nowSeconds);
    signed.delete(audience);
    signed.set(audience, { header, untilSeconds: nowSeconds + VAPID_SECONDS / 2 });
    const oldest = signed.keys().next().value;
    if (signed.size > AUDIENCES_MAX && oldest !== undefined) signed.delete(oldest);
    return header;
  };
}

/** Push URLs of other services may name any number of origins. */
const AUDIENCES_MAX = 64;

function checkSubject(subject: string | undefined): void {
  if (subject === undefined || /^(?:mailto:|https:\/\/)[\x21-\x7e]{1,256}$/.test(subject)) return;
  throw new UsageError('vapid_subject_malformed');
}

function assemble(privateKey: CryptoKey, point: Bytes, subject: string | undefined): VapidKey {
  const publicKey = toBase64url(point);
  return {
    publicKey,
    authorization: async (audience, nowSeconds) => {
      const claims = {
        aud: audience,
        exp: nowSeconds + VAPID_SECONDS,
        ...(subject === undefined ? {} : { sub: subject }),
      };
      const signed = `${HEADER}.${toBase64url(utf8(JSON.stringify(claims)))}`;
      const signature = await crypto.subtle.sign(SIGNING, privateKey, utf8(signed));
      return `vapid t=${signed}.${toBase64url(new Uint8Array(signature))}, k=${publicKey}`;
    },
    export: async () => {
      const { d } = await crypto.subtle.exportKey('jwk', privateKey);
      if (d === undefined) throw new UsageError('vapid_key_malformed');
      return { publicKey, privateKey: d };
    },
  };
}
