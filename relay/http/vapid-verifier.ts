/**
 * Verifies senders (RFC 8292) and remembers whom it believed: a sender signs one token for hours and shows it with
 * every message, and a signature costs more than everything else that a relay does for a message.
 */
import { createHash } from 'node:crypto';
import type { Clock } from '../../system/clock.ts';
import { checkClaim, isSigned, parseVapid, type VapidFault } from '../core/vapid.ts';

export interface VapidVerifierConfig {
  /** The canonical origin and those of all sites now: a sender may have posted to any of them. */
  readonly audiences: readonly string[];
  /** How many verified tokens are remembered. */
  readonly tokensMax?: number;
}

/** Undefined when the sender may use a push URL that was made for the key with this hash. */
export type VapidVerifier = (
  authorization: string | undefined,
  keyHash: Uint8Array,
) => VapidFault | undefined;

const TOKENS_MAX = 4096;

/**
 * A verifier for tokens (ES256, RFC 8292 §2) whose `aud` is one of `audiences`; it remembers at most `tokensMax` good
 * ones.
 */
export function createVapidVerifier(
  config: VapidVerifierConfig,
  clock: Clock,
  isSignedBy: typeof isSigned = isSigned,
): VapidVerifier {
  const { tokensMax = TOKENS_MAX } = config;
  const believed = new Set<string>();
  return (authorization, keyHash) => {
    const claim = parseVapid(authorization);
    if (!claim.ok) return claim.fault;
    // Time and key are checked on every use: only the signature stays true.
    const nowSeconds = Math.floor(clock.wallMs() / 1000);
    const fault = checkClaim(claim.value, { audiences: config.audiences, keyHash, nowSeconds });
    if (fault !== undefined) return fault;
    const { signed, signature, publicKey } = claim.value;
    const token = createHash('sha256').update(publicKey).update(signature).update(signed).digest('base64url');
    if (believed.has(token)) return undefined;
    if (!isSignedBy(claim.value)) return 'vapid_signature_wrong';
    believed.add(token);
    const [oldest] = believed;
    if (believed.size > tokensMax && oldest !== undefined) believed.delete(oldest);
    return undefined;
  };
}
