/**
 * RRSIG records with algorithm 13, ECDSA P-256 with SHA-256 (RFC 4034 §3, RFC 6605): what is signed, byte for byte, and
 * whether a signature holds.
 */
import { type KeyObject, sign, verify } from 'node:crypto';
import { CLASS_IN } from './message.ts';
import { encodeName } from './name.ts';
import type { CanonicalSet } from './record-set.ts';

export const ALGORITHM = 13;

/** Who signs, and from when to when, in seconds since 1970. */
export interface SignatureTerms {
  /** The zone's apex, lower case, without the final dot. */
  readonly signer: string;
  readonly keyTag: number;
  readonly inceptionSeconds: number;
  readonly expirationSeconds: number;
}

/** Signs bytes: 64 bytes, r and s. */
export type SignBytes = (bytes: Uint8Array) => Uint8Array;

/** Signs with an EC private key on P-256. */
export function signBytesWith(key: KeyObject): SignBytes {
  return (bytes) => sign('sha256', bytes, { key, dsaEncoding: 'ieee-p1363' });
}

/** The data of an RRSIG over the set. */
export function signSet(set: CanonicalSet, terms: SignatureTerms, signBytes: SignBytes): Uint8Array {
  return joinSignature(set, terms, signBytes(signedBytes(set, terms)));
}

/** The data of an RRSIG whose signature was made elsewhere. */
export function joinSignature(set: CanonicalSet, terms: SignatureTerms, signature: Uint8Array): Uint8Array {
  return Uint8Array.from([...fixedFields(set, terms), ...signature]);
}

/** Whether this signature over the set holds under an EC public key on P-256; its times are not looked at. */
export function verifiesSet(
  set: CanonicalSet,
  terms: SignatureTerms,
  signature: Uint8Array,
  key: KeyObject,
): boolean {
  return verify('sha256', signedBytes(set, terms), { key, dsaEncoding: 'ieee-p1363' }, signature);
}

/** RFC 4034 §3.1.8.1: the fields before the signature, then every record, sorted by its data, each once. */
function signedBytes(set: CanonicalSet, terms: SignatureTerms): Uint8Array {
  const head = [...encodeName(set.owner), ...u16(set.type), ...u16(CLASS_IN), ...u32(set.ttlSeconds)];
  const data = set.data
    .map((one) => Buffer.from(one))
    .sort((a, b) => a.compare(b))
    .filter((one, index, all) => index === 0 || all[index - 1]?.equals(one) !== true);
  return Buffer.concat([
    Buffer.from(fixedFields(set, terms)),
    ...data.flatMap((one) => [Buffer.from([...head, ...u16(one.length)]), one]),
  ]);
}

function fixedFields(set: CanonicalSet, terms: SignatureTerms): readonly number[] {
  return [
    ...u16(set.type),
    ALGORITHM,
    set.owner.split('.').length,
    ...u32(set.ttlSeconds),
    ...u32(terms.expirationSeconds),
    ...u32(terms.inceptionSeconds),
    ...u16(terms.keyTag),
    ...encodeName(terms.signer),
  ];
}

function u16(value: number): readonly [number, number] {
  return [(value >>> 8) & 0xff, value & 0xff];
}

function u32(value: number): readonly number[] {
  return [...u16(value >>> 16), ...u16(value)];
}
