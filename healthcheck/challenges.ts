/**
 * ACME challenges (RFC 8555 §8.4): the `_acme-challenge` TXT records with which a site proves to a certificate
 * authority that it may have a certificate, on every nameserver of the fleet, because the authority asks any of them.
 *
 * A site publishes for the zone and for its own name, never for another site's. What it publishes replaces what it
 * published before, so publishing again is harmless, and is forgotten after an hour, so nothing has to be cleaned up.
 */
import type { SiteName } from '../fleet/manifest/manifest.ts';
import type { Clock } from '../system/clock.ts';
import { fail, ok, type Result } from '../system/result.ts';
import type { ChallengeRecords } from './core/zone.ts';

/** `not_serving`: this nameserver has no zone to put them into yet. */
export const CHALLENGE_REFUSALS = ['not_json', 'not_challenges', 'not_serving'] as const;
export type ChallengeRefusal = (typeof CHALLENGE_REFUSALS)[number];

export interface Challenges {
  /** Takes `{"zone": [values], "site": [values]}` from a site that has proved itself. */
  receive(text: string, from: SiteName): Result<void, ChallengeRefusal>;
  close(): void;
}

export interface ChallengesOptions {
  readonly clock: Clock;
  /** Whether there is a zone that is served; a witness serves none, and is asked by no authority. */
  readonly isServing: () => boolean;
  /** All that hold now, of all sites. */
  readonly changed: (records: readonly ChallengeRecords[]) => void;
}

const LIFETIME_MS = 3_600_000;
const VALUES_MAX = 4;
/** The base64url of a SHA-256 (RFC 8555 §8.4). */
const VALUE = /^[A-Za-z0-9_-]{43}$/;
const LABEL = '_acme-challenge';

/** Holds nothing at first, and nothing across a restart: a certificate authority asks within seconds. */
export function createChallenges({ clock, isServing, changed }: ChallengesOptions): Challenges {
  const held = new Map<
    SiteName,
    { readonly records: readonly ChallengeRecords[]; readonly cancel: () => void }
  >();
  const tell = (): void => changed([...held.values()].flatMap(({ records }) => records));
  return {
    receive: (text, from) => {
      const parsed = parseChallenges(text, from);
      if (!parsed.ok) return parsed;
      if (!isServing()) return fail('not_serving');
      held.get(from)?.cancel();
      const cancel = clock.after(LIFETIME_MS, () => {
        held.delete(from);
        tell();
      });
      held.set(from, { records: parsed.value, cancel });
      tell();
      return ok(undefined);
    },
    close: () => {
      for (const { cancel } of held.values()) cancel();
    },
  };
}

function parseChallenges(
  text: string,
  from: SiteName,
): Result<readonly ChallengeRecords[], ChallengeRefusal> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return fail('not_json');
  }
  if (typeof value !== 'object' || value === null) return fail('not_challenges');
  const names = { zone: LABEL, site: `${LABEL}.${from}` };
  const records: ChallengeRecords[] = [];
  for (const [key, values] of Object.entries(value) as [string, unknown][]) {
    const isWhole =
      (key === 'zone' || key === 'site') &&
      Array.isArray(values) &&
      values.length <= VALUES_MAX &&
      values.every((one) => typeof one === 'string' && VALUE.test(one));
    if (!isWhole) return fail('not_challenges');
    if (values.length > 0) records.push({ name: names[key], values: values as string[] });
  }
  return ok(records);
}
