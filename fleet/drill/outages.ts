/**
 * How long each client was without service, from its own ledger.
 *
 * An outage begins when the first send that failed was intended to begin, not when its failure was noticed, and it
 * ends with the first success after the client's last failure of the fault phase: a client that succeeds once and fails
 * again is not back. One that does not succeed after its last failure has not come back, and is counted so.
 */
import type { Attempt, LedgerEntry, LinkChange, Outcome } from './ledger.ts';

export interface Window {
  /** Monotonic milliseconds: from just before the first process was killed … */
  readonly beganMs: number;
  /** … until the site was started again. */
  readonly endMs: number;
}

export interface Outage {
  readonly client: string;
  readonly beganMs: number;
  /** Undefined: it did not come back in the window. */
  readonly endedMs: number | undefined;
}

/** One send, with its answer if there was one. */
export interface Operation {
  readonly attempt: Attempt;
  readonly outcome: Outcome | undefined;
}

/** Sends in the order in which they were intended. */
export function operationsOf(entries: readonly LedgerEntry[]): readonly Operation[] {
  const outcomes = new Map<string, Outcome>();
  for (const entry of entries) {
    if (entry.kind === 'accepted' || entry.kind === 'refused' || entry.kind === 'unknown') {
      outcomes.set(entry.id, entry);
    }
  }
  return entries
    .filter((entry) => entry.kind === 'attempt')
    .map((attempt) => ({ attempt, outcome: outcomes.get(attempt.id) }))
    .sort((a, b) => a.attempt.intendedMs - b.attempt.intendedMs);
}

/** Those that the fault can have touched: intended before the window's end, and not answered before it began. */
export function operationsIn(operations: readonly Operation[], window: Window): readonly Operation[] {
  return operations.filter(
    ({ attempt, outcome }) =>
      attempt.intendedMs < window.endMs && (outcome === undefined || outcome.endMs >= window.beganMs),
  );
}

/** One outage for each sender of which a send failed; `operations` are those of the window. */
export function sendOutages(operations: readonly Operation[]): readonly Outage[] {
  return [...groupBy(operations, ({ attempt }) => attempt.client)].flatMap(([client, own]) => {
    const failed = own.filter(({ outcome }) => outcome?.kind !== 'accepted');
    const [first, last] = [failed[0], failed.at(-1)];
    if (first === undefined || last === undefined) return [];
    const back = own
      .filter(({ attempt, outcome }) => {
        return outcome?.kind === 'accepted' && attempt.intendedMs > last.attempt.intendedMs;
      })
      .map(({ outcome }) => outcome?.endMs ?? Number.POSITIVE_INFINITY);
    const endedMs = back.length === 0 ? undefined : Math.min(...back);
    return [{ client, beganMs: first.attempt.intendedMs, endedMs }];
  });
}

/** One outage for each recipient that was without any ready connection in the window. */
export function receiveOutages(entries: readonly LedgerEntry[], window: Window): readonly Outage[] {
  const links = entries.filter((entry): entry is LinkChange => entry.kind === 'link');
  return [...groupBy(links, ({ client }) => client)].flatMap(([client, own]) => {
    const within = own.filter(({ atMs }) => atMs >= window.beganMs && atMs < window.endMs);
    const down = within.find(({ change }) => change === 'down');
    const last = within.at(-1);
    if (down === undefined || last === undefined) return [];
    return [{ client, beganMs: down.atMs, endedMs: last.change === 'up' ? last.atMs : undefined }];
  });
}

/** Milliseconds from the intended start until it was accepted; infinite when it was not. */
export function sendLatencyMs({ attempt, outcome }: Operation): number {
  return outcome?.kind === 'accepted' ? outcome.endMs - attempt.intendedMs : Number.POSITIVE_INFINITY;
}

/** The nearest-rank percentile; undefined of nothing. `share` in (0, 1]. */
export function percentile(values: readonly number[], share: number): number | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];
}

function groupBy<Item>(items: readonly Item[], keyOf: (item: Item) => string): ReadonlyMap<string, Item[]> {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}
