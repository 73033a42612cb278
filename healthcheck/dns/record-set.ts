/**
 * Record sets as DNSSEC sees them: type numbers, and data uncompressed in canonical form (RFC 4034 §6.2). Names of ours
 * are in lower case throughout, so there is nothing to fold.
 */
import type { RecordSet, Soa } from '../core/zone.ts';
import { addressBytes } from './address.ts';
import { TYPE } from './message.ts';
import { encodeName } from './name.ts';

/** A record set in canonical form (RFC 4034 §6.2), as it is signed. */
export interface CanonicalSet {
  /** Lower case, without the final dot. */
  readonly owner: string;
  readonly type: number;
  /** The TTL that the signature states; what is served may be shorter. */
  readonly ttlSeconds: number;
  /** Uncompressed, in any order. */
  readonly data: readonly Uint8Array[];
}

/** The number of a set's type. */
export function typeOf(set: RecordSet): number {
  return set.type === 'other' ? set.number : TYPE[set.type];
}

/** One for each variant that a response may carry; the order of addresses within one means nothing here. */
export function canonicalSets(set: RecordSet, owner: string): readonly CanonicalSet[] {
  const one = (ttlSeconds: number, data: readonly Uint8Array[]): CanonicalSet => ({
    owner,
    type: typeOf(set),
    ttlSeconds,
    data,
  });
  switch (set.type) {
    case 'A':
    case 'AAAA':
      return set.variants.map((addresses) => one(set.signedTtlSeconds, addresses.map(addressData)));
    case 'NS':
      return [one(set.ttlSeconds, set.names.map(encodeName))];
    case 'SOA':
      return [one(set.ttlSeconds, [soaData(set.soa)])];
    case 'other':
      return [one(set.ttlSeconds, set.data)];
  }
}

/** RFC 1035 §3.3.13. */
export function soaData(soa: Soa): Uint8Array {
  const times = [soa.serial, soa.refreshSeconds, soa.retrySeconds, soa.expireSeconds, soa.negativeTtlSeconds];
  return Uint8Array.from([
    ...encodeName(soa.primary),
    ...encodeName(soa.contact),
    ...times.flatMap((value) => [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff]),
  ]);
}

function addressData(address: string): Uint8Array {
  const bytes = addressBytes(address);
  if (bytes === undefined) throw new TypeError('a zone holds only IP addresses');
  return bytes;
}
