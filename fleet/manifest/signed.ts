/**
 * The manifest as it travels: a compact JWS (RFC 7515, EdDSA) by the operators' offline key. Who opens it holds only
 * the public key, and gets a manifest that is whole, or the name of what is wrong and every fault as a sentence.
 */
import { CompactSign, compactVerify, importJWK, type JWK } from 'jose';
import { describeError } from '../../system/log.ts';
import { fail, type Result } from '../../system/result.ts';
import type { Manifest } from './manifest.ts';
import { EVERYTHING_DRAINED, parseManifest } from './parse.ts';

/** What a manifest can be refused for by whoever knows the operators' key and nothing else. */
export const MANIFEST_FAULTS = [
  'too_large',
  'not_signed',
  'invalid',
  'drains_everything',
  'below_minimum',
] as const;

export interface ManifestFault {
  readonly reason: (typeof MANIFEST_FAULTS)[number];
  /** Sentences. */
  readonly details: readonly string[];
}

/** Bytes of a signed manifest: 16 sites with all their keys, and room for records of the operators' own. */
export const SIGNED_MANIFEST_BYTES_MAX = 262_144;

const TYPE = 'archipelago-manifest+json';

/** Signs with the operators' private key, an Ed25519 JWK that contains `d`. Gives the compact JWS. */
export async function signManifest(manifest: Manifest, privateJwk: JWK): Promise<string> {
  const key = await importJWK(privateJwk, 'EdDSA');
  return new CompactSign(new TextEncoder().encode(JSON.stringify(manifest)))
    .setProtectedHeader({ alg: 'EdDSA', typ: TYPE })
    .sign(key);
}

/**
 * Verifies and parses a signed manifest. `publicKey` is the operators' Ed25519 key, 32 bytes as base64url;
 * a version below `versionMin` is refused.
 */
export async function openManifest(
  signed: string,
  publicKey: string,
  versionMin: number,
): Promise<Result<Manifest, ManifestFault>> {
  const refuse = (reason: ManifestFault['reason'], details: readonly string[]) => fail({ reason, details });
  if (signed.length > SIGNED_MANIFEST_BYTES_MAX) {
    return refuse('too_large', [
      `manifest: ${signed.length} bytes; at most ${SIGNED_MANIFEST_BYTES_MAX} are read`,
    ]);
  }
  let payload: unknown;
  try {
    const key = await importJWK({ kty: 'OKP', crv: 'Ed25519', x: publicKey }, 'EdDSA');
    const opened = await compactVerify(signed.trim(), key, { algorithms: ['EdDSA'] });
    if (opened.protectedHeader.typ !== TYPE) throw new Error(`its type is not ${TYPE}`);
    payload = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(opened.payload));
  } catch (error) {
    return refuse('not_signed', [`manifest: not signed by the operators' key (${describeError(error)})`]);
  }
  const parsed = parseManifest(payload);
  if (!parsed.ok) {
    const isOnlyDrained = parsed.fault.every((fault) => fault === EVERYTHING_DRAINED);
    return refuse(isOnlyDrained ? 'drains_everything' : 'invalid', parsed.fault);
  }
  const { version } = parsed.value;
  if (version < versionMin) {
    return refuse('below_minimum', [
      `manifest: version ${version} is older than the oldest accepted, ${versionMin}`,
    ]);
  }
  return parsed;
}
