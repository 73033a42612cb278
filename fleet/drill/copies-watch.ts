/**
 * How many copies are still owed: asked of the relays themselves, since only they know what they have not handed on.
 *
 * Messages keep arriving, so something is always owed for a moment. What counts is the age of the oldest debt: once
 * none is older than the event in question, everything that was accepted before it has its copies.
 */
import type { Clock } from '../../system/clock.ts';
import { askPrivate, metricValues } from '../local/private-http.ts';

export interface RelayPlace {
  readonly site: string;
  readonly address: string;
  readonly port: number;
}

export interface Debts {
  /** Messages that `site` owes, by the site they are owed to. */
  readonly owed: ReadonlyMap<string, number>;
  /** Age of the oldest, seconds. */
  readonly oldestSeconds: ReadonlyMap<string, number>;
  /** It is being refilled after it came back empty. */
  readonly recovering: boolean;
  /** When it was asked, monotonic milliseconds. */
  readonly atMs: number;
}

const TIMEOUT_MS = 1000;

/** Asks one relay; undefined when it does not answer. */
export async function readDebts(place: RelayPlace, clock: Clock): Promise<Debts | undefined> {
  const atMs = clock.monotonicMs();
  try {
    const { body } = await askPrivate(place.address, place.port, '/metrics', TIMEOUT_MS);
    return {
      owed: metricValues(body, 'relay_owed'),
      oldestSeconds: metricValues(body, 'relay_owed_oldest_seconds'),
      recovering: metricValues(body, 'relay_recovering').get('') !== 0,
      atMs,
    };
  } catch {
    return undefined;
  }
}

/** True when what is owed to `creditors`, if anything, was accepted after `sinceMs`. */
export function isSettledSince(debts: Debts, creditors: readonly string[], sinceMs: number): boolean {
  return creditors.every((creditor) => {
    if ((debts.owed.get(creditor) ?? 0) === 0) return true;
    return debts.atMs - (debts.oldestSeconds.get(creditor) ?? Number.POSITIVE_INFINITY) * 1000 > sinceMs;
  });
}
