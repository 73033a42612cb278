/**
 * Credentials that are refused again and again: a program that is stuck with a token that has expired, or somebody who tries
 * one after the other.
 *
 * What is counted is a credential together with where it comes from, so neither an address that thousands share nor a
 * credential that others use as well is shut out. Whoever shows always another one is noticed by address alone, and waits
 * only while the relay has too much to do anyway. Names of addresses are good for an hour (`address-key.ts`).
 */
import { createHash } from 'node:crypto';
import type { Clock } from '../system/clock.ts';
import type { Random } from '../system/random.ts';
import { createTokenBuckets } from '../system/token-buckets.ts';
import { createAddressKey } from './address-key.ts';

export interface FailuresDeps {
  readonly isCrowded: () => boolean;
  readonly clock: Clock;
  readonly random: Random;
}

export interface Failures {
  /** Counts a credential that was refused; undefined when only the address is to be blamed. */
  note(address: string | undefined, credential: string | undefined): void;
  /** Whether this credential from this address was refused too often just now. */
  isHopeless(address: string | undefined, credential: () => string): boolean;
  /** Whether so many credentials from this address were refused that it waits until the relay has less to do. */
  isUnwelcome(address: string | undefined): boolean;
}

export const PAIR_RATE = { perSecond: 1, burst: 10, keysMax: 50_000 } as const;
const ADDRESS_RATE = { perSecond: 20, burst: 200, keysMax: 50_000 } as const;
/** With less left of its burst an address waits. */
const UNWELCOME_BELOW = 100;

/** Allows ten refusals of a credential at once and one a second, of an address a hundred and twenty a second. */
export function createFailures({ isCrowded, clock, random }: FailuresDeps): Failures {
  const pairs = createTokenBuckets(PAIR_RATE);
  const addresses = createTokenBuckets(ADDRESS_RATE);
  const addressKey = createAddressKey(clock, random);
  const pairOf = (address: string, credential: string): string =>
    createHash('sha256').update(addressKey(address)).update(credential).digest('base64url');
  return {
    note: (address, credential) => {
      if (address === undefined) return;
      const nowMs = clock.monotonicMs();
      addresses.take(addressKey(address), nowMs);
      if (credential !== undefined) pairs.take(pairOf(address, credential), nowMs);
    },
    isHopeless: (address, credential) =>
      address !== undefined &&
      pairs.size > 0 &&
      pairs.left(pairOf(address, credential()), clock.monotonicMs()) < 1,
    isUnwelcome: (address) =>
      address !== undefined &&
      addresses.size > 0 &&
      isCrowded() &&
      addresses.left(addressKey(address), clock.monotonicMs()) < UNWELCOME_BELOW,
  };
}
