/**
 * The signer of one nameserver: a signature for every record set that it serves, made once and kept.
 *
 * Every set of addresses that an answer may ever carry is signed in advance, so failover waits for no signature. A
 * signature is good for two weeks and replaced after three days: if signing stopped, there would be eleven days to
 * notice, more than the week for which a secondary serves a zone that it cannot refresh.
 */
import { TYPE } from './message.ts';
import type { CanonicalSet } from './record-set.ts';
import { type SignBytes, signSet } from './signature.ts';

const DAY_SECONDS = 86_400;
const VALID_SECONDS = 14 * DAY_SECONDS;
const RENEW_BELOW_SECONDS = 11 * DAY_SECONDS;
/** Clocks of validators differ. */
const BACKDATED_SECONDS = 3600;

export interface SignerOptions {
  readonly zone: string;
  readonly keyTag: number;
  readonly signBytes: SignBytes;
  /** Seconds since 1970, whole. */
  readonly wallSeconds: () => number;
}

export interface Signer {
  /** The data of the RRSIG over a set: the one at hand while it is good for long enough, or a new one. */
  readonly sign: (set: CanonicalSet) => readonly Uint8Array[];
  /** Whether `sign` would make a new one. */
  wouldSign(set: CanonicalSet): boolean;
  /** When the first signature at hand ends, seconds since 1970; undefined while there is none. */
  expiresSeconds(): number | undefined;
}

interface Kept {
  readonly content: string;
  readonly data: readonly Uint8Array[];
  readonly inceptionSeconds: number;
  readonly expirationSeconds: number;
}

/** A signer that has signed nothing yet. */
export function createSigner({ zone, keyTag, signBytes, wallSeconds }: SignerOptions): Signer {
  const kept = new Map<string, Kept>();
  const atHand = (slot: string, content: string): Kept | undefined => {
    const one = kept.get(slot);
    if (one === undefined || one.content !== content) return undefined;
    const nowSeconds = wallSeconds();
    // A signature from the future is left of a clock that was wrong.
    const isGood =
      one.expirationSeconds - nowSeconds >= RENEW_BELOW_SECONDS && one.inceptionSeconds <= nowSeconds;
    return isGood ? one : undefined;
  };
  return {
    sign: (set) => {
      const content = contentOf(set);
      const slot = slotOf(set, content);
      const found = atHand(slot, content);
      if (found !== undefined) return found.data;
      const inceptionSeconds = wallSeconds() - BACKDATED_SECONDS;
      const expirationSeconds = wallSeconds() + VALID_SECONDS;
      const terms = { signer: zone, keyTag, inceptionSeconds, expirationSeconds };
      const data = [signSet(set, terms, signBytes)];
      kept.set(slot, { content, data, inceptionSeconds, expirationSeconds });
      return data;
    },
    wouldSign: (set) => {
      const content = contentOf(set);
      return atHand(slotOf(set, content), content) === undefined;
    },
    expiresSeconds: () => {
      let first: number | undefined;
      for (const { expirationSeconds } of kept.values())
        first = Math.min(first ?? expirationSeconds, expirationSeconds);
      return first;
    },
  };
}

/** Different sets of addresses are kept side by side; of everything else a name has only the latest. */
function slotOf({ owner, type }: CanonicalSet, content: string): string {
  return type === TYPE.A || type === TYPE.AAAA ? `${owner} ${type} ${content}` : `${owner} ${type}`;
}

function contentOf({ ttlSeconds, data }: CanonicalSet): string {
  const texts = data.map((one) => Buffer.from(one).toString('latin1')).sort();
  return `${ttlSeconds} ${texts.join('|')}`;
}
