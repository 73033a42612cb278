/**
 * The vault: the keys that no machine of the fleet ever sees, in one file under a passphrase. A copy of the file alone
 * signs nothing.
 *
 * A compact JWE (RFC 7516) with PBES2-HS512+A256KW (RFC 7518 §4.8), so that other tools can open it too. The relays'
 * common secrets are in it because they have to be sealed anew for every site of a manifest.
 */
import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { CompactEncrypt, compactDecrypt, decodeProtectedHeader, type JWK } from 'jose';
import { fail, ok, type Result } from '../../system/result.ts';
import { makeZoneKey } from '../zone-keys.ts';
import { parseRing, type Ring } from './ring.ts';

export type ManifestKey = JWK & { readonly x: string };

export interface Vault {
  /** Signs manifests: an Ed25519 key with `d`. */
  readonly manifestKey: ManifestKey;
  /** Signs beside it while it replaces it. */
  readonly nextManifestKey?: ManifestKey;
  /** Sign the DNSKEY set; PKCS#8 PEM, EC on P-256: one, or two while the second replaces the first. */
  readonly zoneKeys: readonly string[];
  readonly ring: Ring;
}

/** Iterations of PBKDF2 with SHA-512: about half a second of one core for each guess. */
export const ITERATIONS = 600_000;
/** A file that asks for more is not ours. */
const ITERATIONS_MAX = 10_000_000;
export const PASSPHRASE_LENGTH_MIN = 12;

/** New keys; `ring` is the relays'. */
export function makeVault(ring: Ring): Vault {
  return { manifestKey: makeManifestKey(), zoneKeys: [zoneKeyPem(makeZoneKey())], ring };
}

/** A new key of the operators. */
export function makeManifestKey(): ManifestKey {
  const jwk = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  return { ...jwk, x: jwk.x ?? '' };
}

/** Locks the vault. `iterations` of PBKDF2: `ITERATIONS`, or few where nobody guesses. */
export async function lockVault(vault: Vault, passphrase: string, iterations: number): Promise<string> {
  const sealed = await new CompactEncrypt(new TextEncoder().encode(JSON.stringify({ format: 1, ...vault })))
    .setProtectedHeader({
      alg: 'PBES2-HS512+A256KW',
      enc: 'A256GCM',
      typ: 'archipelago-vault+json',
    })
    .setKeyManagementParameters({ p2c: iterations })
    .encrypt(new TextEncoder().encode(passphrase));
  return `${sealed}\n`;
}

/** Opens what `lockVault` made. The fault is a sentence, and never repeats a passphrase or a key. */
export async function openVault(
  sealed: string,
  passphrase: string,
): Promise<Result<{ readonly vault: Vault; readonly iterations: number }, string>> {
  let text: string;
  let iterations: number;
  try {
    iterations = Number(decodeProtectedHeader(sealed.trim())['p2c']);
  } catch {
    return fail('The vault is damaged: it is no compact JWE. Take it from a backup.');
  }
  try {
    const opened = await compactDecrypt(sealed.trim(), new TextEncoder().encode(passphrase), {
      keyManagementAlgorithms: ['PBES2-HS512+A256KW'],
      contentEncryptionAlgorithms: ['A256GCM'],
      maxPBES2Count: ITERATIONS_MAX,
    });
    text = new TextDecoder('utf-8', { fatal: true }).decode(opened.plaintext);
  } catch {
    return fail('The passphrase does not open the vault; or else the file is damaged.');
  }
  const vault = parseVault(text);
  return vault === undefined
    ? fail('The vault was opened and has not the keys of a fleet in it. Take it from a backup.')
    : ok({ vault, iterations });
}

/** A private key as the vault keeps it. */
export function zoneKeyPem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' });
}

function parseVault(text: string): Vault | undefined {
  try {
    const value = JSON.parse(text) as Partial<Record<keyof Vault | 'format', unknown>>;
    const manifestKey = manifestKeyIn(value.manifestKey);
    const next = value.nextManifestKey === undefined ? undefined : manifestKeyIn(value.nextManifestKey);
    const zoneKeys = value.zoneKeys as readonly string[];
    const ring = parseRing(value.ring);
    const areZoneKeys =
      zoneKeys.length >= 1 && zoneKeys.every((pem) => createPrivateKey(pem).asymmetricKeyType === 'ec');
    if (value.format !== 1 || !areZoneKeys || ring === undefined || manifestKey === undefined)
      return undefined;
    return { manifestKey, ...(next === undefined ? {} : { nextManifestKey: next }), zoneKeys, ring };
  } catch {
    return undefined;
  }
}

/** Throws when it is no private key. */
function manifestKeyIn(value: unknown): ManifestKey | undefined {
  const jwk = value as ManifestKey;
  const { asymmetricKeyType } = createPrivateKey({ key: { ...jwk }, format: 'jwk' });
  return asymmetricKeyType === 'ed25519' && typeof jwk.x === 'string' ? jwk : undefined;
}
