/**
 * The keys of a vantage, beside a site's nameserver or of a witness: what it shows, what it signs votes with, and the
 * token with which it makes push URLs for its message canaries.
 */
import { createHash } from 'node:crypto';
import { pinOf } from '../../system/pinned-tls.ts';
import type { Random } from '../../system/random.ts';
import { type CertificateContext, makePinnedIdentity, makeVoteKey } from '../certificates.ts';
import type { VantageEntry } from '../manifest/manifest.ts';

/** What a vantage has, and what the manifest lists of it. */
export interface VantageKeys {
  readonly listed: Pick<VantageEntry, 'pins' | 'voteKey' | 'operatorTokenHash'>;
  readonly files: Readonly<Record<'vote-key' | 'tls-certificate' | 'tls-key' | 'operator-token', string>>;
}

/** `name` is of its certificate, and for people only. */
export async function makeVantageKeys(name: string, context: CertificateContext): Promise<VantageKeys> {
  const identity = await makePinnedIdentity(context, name);
  const vote = makeVoteKey();
  const operatorToken = secretText(context.random);
  return {
    listed: {
      pins: [pinOf(identity.publicKeySpki)],
      voteKey: vote.publicKey,
      operatorTokenHash: hashOf(operatorToken).toString('base64url'),
    },
    files: {
      'vote-key': vote.keyPem,
      'tls-certificate': identity.certificatePem,
      'tls-key': identity.keyPem,
      'operator-token': operatorToken,
    },
  };
}

/** SHA-256 of an operator token, which is all that others have of it. */
export function hashOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

/** 32 bytes as base64url. */
export function secretText(random: Random): string {
  return Buffer.from(random.bytes(32)).toString('base64url');
}
