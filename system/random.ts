/**
 * Chance as an argument: jitter, phases, nonces and identifiers come from a Random, so a seed can replay them.
 */
import { randomBytes } from 'node:crypto';

export interface Random {
  /** `length` bytes; from the system's CSPRNG outside simulations. */
  bytes(length: number): Uint8Array;
  /** A number in [0, 1), for jitter and choice; never for secrets. */
  fraction(): number;
}

export const systemRandom: Random = {
  bytes: (length) => new Uint8Array(randomBytes(length)),
  fraction: () => randomBytes(4).readUInt32LE(0) / 2 ** 32,
};

/** A reproducible Random (mulberry32). For simulations and load generators; its bytes are no secrets. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    bytes: (length) => Uint8Array.from({ length }, () => Math.floor(next() * 256)),
    fraction: next,
  };
}
