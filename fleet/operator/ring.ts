/**
 * The capability ring as operators turn it: add a key that opens, let it mint once every relay has it, and take the old
 * one away when nobody uses a push URL of it any more. What the parts mean: relay/core/key-ring.ts, which also
 * reads what is written here.
 */

import { parseKeyRing } from '../../relay/core/key-ring.ts';
import type { Random } from '../../system/random.ts';
import { fail, ok, type Result } from '../../system/result.ts';

/** The content of the relays' secrets file; bytes as base64url. */
export interface Ring {
  readonly capabilityKeys: readonly {
    /** 4 bytes; it travels in clear at the head of each push URL. */
    readonly id: string;
    readonly key: string;
    readonly mint?: true;
  }[];
  readonly pepper: string;
}

const KEYS_MAX = 16;

/** A ring with one key, which mints. */
export function makeRing(random: Random): Ring {
  return {
    capabilityKeys: [{ ...makeKey(random), mint: true }],
    pepper: base64url(random, 32),
  };
}

/** With one key more, which only opens. The fault is a sentence. */
export function withNewKey(ring: Ring, random: Random): Result<{ ring: Ring; id: string }, string> {
  if (ring.capabilityKeys.length >= KEYS_MAX) {
    return fail(
      `The ring has ${KEYS_MAX} keys already: retire one first (\`fleet keys rotate ring ID --retire\`).`,
    );
  }
  const key = makeKey(random);
  return ok({ ring: { ...ring, capabilityKeys: [...ring.capabilityKeys, key] }, id: key.id });
}

/** Lets this key mint, and no other. The fault is a sentence. */
export function mintingWith(ring: Ring, id: string): Result<Ring, string> {
  if (!ring.capabilityKeys.some((key) => key.id === id)) return fail(unknownKey(ring, id));
  return ok({
    ...ring,
    capabilityKeys: ring.capabilityKeys.map(({ id: each, key }) =>
      each === id ? { id: each, key, mint: true as const } : { id: each, key },
    ),
  });
}

/** Without this key: its push URLs are answered 503 from then on. The fault is a sentence. */
export function withoutKey(ring: Ring, id: string): Result<Ring, string> {
  const key = ring.capabilityKeys.find((each) => each.id === id);
  if (key === undefined) return fail(unknownKey(ring, id));
  if (key.mint === true) return fail(`Ring key ${id} mints: let another one mint first.`);
  return ok({ ...ring, capabilityKeys: ring.capabilityKeys.filter((each) => each.id !== id) });
}

/** The id of the key that mints. */
export function mintingId({ capabilityKeys }: Ring): string {
  return capabilityKeys.find(({ mint }) => mint === true)?.id ?? '';
}

/** Undefined when relays would not take it. */
export function parseRing(value: unknown): Ring | undefined {
  return parseKeyRing(JSON.stringify(value ?? null)).ok ? (value as Ring) : undefined;
}

function makeKey(random: Random): { readonly id: string; readonly key: string } {
  return { id: base64url(random, 4), key: base64url(random, 32) };
}

function base64url(random: Random, bytes: number): string {
  return Buffer.from(random.bytes(bytes)).toString('base64url');
}

function unknownKey({ capabilityKeys }: Ring, id: string): string {
  return `There is no ring key ${JSON.stringify(id)}; there are ${capabilityKeys.map((key) => key.id).join(', ')}.`;
}
