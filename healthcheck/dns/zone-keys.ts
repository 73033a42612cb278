/**
 * The zone's DNSKEY set (RFC 4034 §2): the operators' keys, which are offline and sign only this set, and one key for
 * each site, which signs what its nameserver says (RFC 8901). The set and the signatures over it travel in the
 * manifest, so a nameserver can neither add a key nor keep one that was dropped.
 */
import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import type { Manifest, ZoneKey, ZoneKeySet } from '../../fleet/manifest/manifest.ts';
import { TYPE } from './message.ts';
import { encodeName } from './name.ts';
import type { CanonicalSet } from './record-set.ts';
import {
  ALGORITHM,
  joinSignature,
  type SignatureTerms,
  signBytesWith,
  signSet,
  verifiesSet,
} from './signature.ts';

const FLAGS_SITE = 256;
/** With the bit that says "secure entry point": the parent's DS points here. */
const FLAGS_OPERATORS = 257;
const PROTOCOL = 3;
const DIGEST_SHA256 = 2;

/** The data of a DNSKEY record. */
export function zoneKeyData({ site, publicKey }: ZoneKey): Uint8Array {
  const flags = site === null ? FLAGS_OPERATORS : FLAGS_SITE;
  return Uint8Array.from([
    flags >> 8,
    flags & 0xff,
    PROTOCOL,
    ALGORITHM,
    ...Buffer.from(publicKey, 'base64url'),
  ]);
}

/** RFC 4034, appendix B. */
export function keyTagOf(key: ZoneKey): number {
  const sum = zoneKeyData(key).reduce(
    (total, byte, index) => total + (index % 2 === 0 ? byte << 8 : byte),
    0,
  );
  return (sum + (sum >>> 16)) & 0xffff;
}

/** The public half of an EC key on P-256 as the manifest has it, 64 bytes in base64url; undefined for other keys. */
export function publicKeyText(key: KeyObject): string | undefined {
  const { kty, crv, x, y } = createPublicKey(key).export({
    format: 'jwk',
  });
  if (kty !== 'EC' || crv !== 'P-256' || x === undefined || y === undefined) return undefined;
  return Buffer.concat([Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]).toString('base64url');
}

/** What the operators give to the registrar, a line for each of their keys (RFC 4034 §5, SHA-256). */
export function dsRecords(zone: string, { keys }: Pick<ZoneKeySet, 'keys'>): readonly string[] {
  return keys
    .filter((key) => key.site === null)
    .map((key) => {
      const digest = createHash('sha256').update(encodeName(zone)).update(zoneKeyData(key)).digest('hex');
      return `${zone}. IN DS ${keyTagOf(key)} ${ALGORITHM} ${DIGEST_SHA256} ${digest.toUpperCase()}`;
    });
}

export interface SignZoneKeysOptions {
  readonly zone: string;
  readonly ttlSeconds: number;
  /** Of the sites; the operators' own are added. */
  readonly siteKeys: readonly ZoneKey[];
  /** EC private keys on P-256: one, or two while one replaces the other. Each signs. */
  readonly operatorKeys: readonly KeyObject[];
  /** Seconds since 1970. */
  readonly inceptionSeconds: number;
  readonly expirationSeconds: number;
}

/** Signs the set with the operators' keys. Throws on a key that is not on P-256. */
export function signZoneKeys(options: SignZoneKeysOptions): ZoneKeySet {
  const { zone, ttlSeconds, inceptionSeconds, expirationSeconds, siteKeys, operatorKeys } = options;
  const owned = operatorKeys.map((key) => {
    const publicKey = publicKeyText(key);
    if (publicKey === undefined) throw new TypeError('an operators’ zone key must be an EC key on P-256');
    return { key, entry: { site: null, publicKey } };
  });
  const keys = [...owned.map(({ entry }) => entry), ...siteKeys];
  const set = keySet(zone, { ttlSeconds, keys });
  return {
    ttlSeconds,
    keys,
    signatures: owned.map(({ key, entry }) => {
      const keyTag = keyTagOf(entry);
      const data = signSet(
        set,
        { signer: zone, keyTag, inceptionSeconds, expirationSeconds },
        signBytesWith(key),
      );
      const signature = Buffer.from(data.subarray(-64)).toString('base64url');
      return { keyTag, inceptionSeconds, expirationSeconds, signature };
    }),
  };
}

/** The set as it is served: the data of its DNSKEY records, and of the RRSIG records over them. */
export function zoneKeyRecords(
  zone: string,
  zoneKeys: ZoneKeySet,
): { readonly data: readonly Uint8Array[]; readonly signatures: readonly Uint8Array[] } {
  const set = keySet(zone, zoneKeys);
  return {
    data: set.data,
    signatures: zoneKeys.signatures.map((one) =>
      joinSignature(set, termsOf(zone, one), Buffer.from(one.signature, 'base64url')),
    ),
  };
}

/** Why this key set would break the zone: sentences, none when it holds. Times are not looked at. */
export function zoneKeyFaults({ zone, zoneKeys }: Pick<Manifest, 'zone' | 'zoneKeys'>): readonly string[] {
  if (zoneKeys === undefined) return [];
  const set = keySet(zone, zoneKeys);
  const faults = zoneKeys.signatures.flatMap((one) => {
    const key = zoneKeys.keys.find((key) => key.site === null && keyTagOf(key) === one.keyTag);
    if (key === undefined) return [`manifest.zoneKeys: no operators' key has the key tag ${one.keyTag}`];
    const signature = Buffer.from(one.signature, 'base64url');
    const publicKey = publicKeyOf(key);
    const holds = publicKey !== undefined && verifiesSet(set, termsOf(zone, one), signature, publicKey);
    return holds
      ? []
      : [`manifest.zoneKeys: the signature with key tag ${one.keyTag} does not hold; sign the set again`];
  });
  if (zoneKeys.keys.every((key) => key.site === null)) faults.push('manifest.zoneKeys: no site has a key');
  return faults;
}

/** When the first signature over the set ends, seconds since 1970. */
export function zoneKeysExpireSeconds({ signatures }: Pick<ZoneKeySet, 'signatures'>): number {
  return Math.min(...signatures.map((one) => one.expirationSeconds));
}

function keySet(zone: string, { ttlSeconds, keys }: Pick<ZoneKeySet, 'ttlSeconds' | 'keys'>): CanonicalSet {
  return { owner: zone, type: TYPE.DNSKEY, ttlSeconds, data: keys.map(zoneKeyData) };
}

function termsOf(zone: string, one: ZoneKeySet['signatures'][number]): SignatureTerms {
  return { signer: zone, ...one };
}

/** Undefined when the point is not on the curve: then there is no such key. */
function publicKeyOf({ publicKey }: ZoneKey): KeyObject | undefined {
  const point = Buffer.from(publicKey, 'base64url');
  const x = point.subarray(0, 32).toString('base64url');
  const y = point.subarray(32).toString('base64url');
  try {
    return createPublicKey({ key: { kty: 'EC', crv: 'P-256', x, y }, format: 'jwk' });
  } catch {
    return undefined;
  }
}
