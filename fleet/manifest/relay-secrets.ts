/**
 * The relays' common secrets inside the manifest: sealed for each site to the key that its relays prove to their
 * peers. So a new capability ring reaches every relay with the next manifest, and no cloud API is needed for it; a
 * site that was dropped is not among those that the next ring is sealed for.
 *
 * Compact JWE (RFC 7516), ECDH-ES on P-256 and A256GCM. Its `kid` is the pin of the peer key (`system/pinned-tls.ts`).
 * Who sealed it is what the manifest's own signature says.
 */
import { createPrivateKey, createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { CompactEncrypt, compactDecrypt, decodeProtectedHeader } from 'jose';
import { pinOf } from '../../system/pinned-tls.ts';
import { fail, ok, type Result } from '../../system/result.ts';
import type { Manifest, SealedRelaySecrets, SiteName } from './manifest.ts';

/**
 * Seals the text of a secrets file for relays that show `peerCertificatePem` to their peers. Rejects when that is not
 * a certificate with a key on P-256.
 */
export async function sealRelaySecrets(
  secrets: string,
  site: SiteName,
  peerCertificatePem: string,
): Promise<SealedRelaySecrets> {
  const { publicKey } = new X509Certificate(peerCertificatePem);
  const jwe = await new CompactEncrypt(new TextEncoder().encode(secrets))
    .setProtectedHeader({ alg: 'ECDH-ES', enc: 'A256GCM', kid: pinOfKey(publicKey) })
    .encrypt(publicKey);
  return { site, jwe };
}

/** Why sealed secrets cannot be read. */
export type UnsealFault = 'not_sealed_for_key' | 'unsealable';

/**
 * The text of the secrets file that this site's relays share: undefined when the manifest has none for the site, and a
 * fault when it has some, but none that this peer key (PKCS#8 PEM) opens.
 */
export async function openRelaySecrets(
  { relaySecrets = [] }: Pick<Manifest, 'relaySecrets'>,
  site: SiteName,
  peerKeyPem: string,
): Promise<Result<string | undefined, UnsealFault>> {
  const sealed = relaySecrets.filter((one) => one.site === site);
  if (sealed.length === 0) return ok(undefined);
  try {
    const key = createPrivateKey(peerKeyPem);
    const pin = pinOfKey(createPublicKey(key));
    const own = sealed.find(({ jwe }) => decodeProtectedHeader(jwe).kid === pin);
    if (own === undefined) return fail('not_sealed_for_key');
    const opened = await compactDecrypt(own.jwe, key, {
      keyManagementAlgorithms: ['ECDH-ES'],
      contentEncryptionAlgorithms: ['A256GCM'],
    });
    return ok(new TextDecoder('utf-8', { fatal: true }).decode(opened.plaintext));
  } catch {
    return fail('unsealable');
  }
}

function pinOfKey(publicKey: KeyObject): string {
  return pinOf(publicKey.export({ type: 'spki', format: 'der' }));
}
