/**
 * Counters by name, at zero from the start, with an optional listener: how an application watches a sender or a
 * receiver without ever being shown an id.
 */
export interface Tally<Name extends string> {
  readonly counts: Readonly<Record<Name, number>>;
  readonly note: (name: Name, provider?: string) => void;
}

/** Called after an event was counted; `provider` when it belongs to one. */
export type EventListener<Name extends string> = (name: Name, provider: string | undefined) => void;

/** A counter at zero for each of `names`; `listener` hears of each event after it is counted. */
export function createTally<Name extends string>(
  names: readonly Name[],
  listener: EventListener<Name> | undefined,
): Tally<Name> {
  const counts = Object.fromEntries(names.map((name) => [name, 0])) as Record<Name, number>;
  return {
    counts,
    note: (name, provider) => {
      counts[name] += 1;
      listener?.(name, provider);
    },
  };
}
