/**
 * The manifest as it travels: a compact JWS (RFC 7515, EdDSA) by the operators' offline key. Who opens it holds only
 * the public key, and gets a manifest that is whole, or every fault as a sentence.
 */
import { CompactSign, compactVerify, importJWK, type JWK } from 'jose';
import { describeError } from '../../system/log.ts';
import { fail, type Result } from '../../system/result.ts';
import type { Manifest } from './manifest.ts';
import { parseManifest } from './parse.ts';

/** Signs with the operators' private key, an Ed25519 JWK that contains `d`. Gives the compact JWS. */
export async function signManifest(manifest: Manifest, privateJwk: JWK): Promise<string> {
  const key = await importJWK(privateJwk, 'EdDSA');
  return new CompactSign(new TextEncoder().encode(JSON.stringify(manifest)))
    .setProtectedHeader({ alg: 'EdDSA', typ: 'archipelago-manifest+json' })
    .sign(key);
}

/**
 * Verifies and parses a signed manifest. `publicKey` is the operators' Ed25519 key, 32 bytes as base64url;
 * a version below `versionMin` is refused. Every fault is a sentence.
 */
export async function openManifest(
  signed: string,
  publicKey: string,
  versionMin: number,
): Promise<Result<Manifest, readonly string[]>> {
  let payload: unknown;
  try {
    const key = await importJWK({ kty: 'OKP', crv: 'Ed25519', x: publicKey }, 'EdDSA');
    const opened = await compactVerify(signed.trim(), key, { algorithms: ['EdDSA'] });
    payload = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(opened.payload));
  } catch (error) {
    return fail([`manifest: not signed by the operators' key (${describeError(error)})`]);
  }
  const parsed = parseManifest(payload);
  if (parsed.ok && parsed.value.version < versionMin) {
    return fail([
      `manifest: version ${parsed.value.version} is older than the oldest accepted, ${versionMin}`,
    ]);
  }
  return parsed;
}
