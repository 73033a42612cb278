/**
 * Mailbox tokens: a client proves that it owns a mailbox with a short-lived JWS (RFC 7515, EdDSA) that it signed
 * itself, with the public key in the header. The audience is one site, so what one site hears is worth nothing at
 * another.
 */
import { decodeProtectedHeader, EmbeddedJWK, jwtVerify } from 'jose';
import type { Clock } from '../../system/clock.ts';
import { PUBLIC_KEY_BYTES } from '../core/ack.ts';

/** The furthest a token's expiry may lie ahead, seconds. */
export const TOKEN_SECONDS_MAX = 300;
/** How far the clocks of client and relay may differ, seconds. */
const CLOCK_TOLERANCE_SECONDS = 30;

/** The raw public key that signed the token, 32 bytes; undefined for every fault, which is not told apart. */
export type MailboxTokenVerifier = (token: string) => Promise<Uint8Array | undefined>;

/** Verifies mailbox tokens (EdDSA JWS, RFC 7515 and RFC 8037) whose `aud` is `audience`. */
export function createMailboxTokenVerifier(audience: string, clock: Clock): MailboxTokenVerifier {
  return async (token) => {
    const nowMs = clock.wallMs();
    try {
      const { payload } = await jwtVerify(token, EmbeddedJWK, {
        algorithms: ['EdDSA'],
        audience,
        requiredClaims: ['exp', 'aud'],
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
        currentDate: new Date(nowMs),
      });
      const latest = nowMs / 1000 + TOKEN_SECONDS_MAX + CLOCK_TOLERANCE_SECONDS;
      const jwk = decodeProtectedHeader(token).jwk;
      if ((payload.exp ?? Number.POSITIVE_INFINITY) > latest || jwk?.crv !== 'Ed25519') return undefined;
      const publicKey = Buffer.from(jwk.x ?? '', 'base64url');
      return publicKey.length === PUBLIC_KEY_BYTES ? publicKey : undefined;
    } catch {
      // jose throws for every kind of invalid token; the caller answers all of them alike.
      return undefined;
    }
  };
}
