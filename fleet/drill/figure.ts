/**
 * A figure of the report, beside the bound it is judged by.
 */

export type Unit = 's' | 'messages' | 'clients' | 'changes' | 'sends' | 'plants';

export interface Figure {
  readonly group: Group;
  readonly name: string;
  /** Undefined: it did not happen, or there was nothing to measure. Times in seconds. */
  readonly value: number | undefined;
  readonly unit: Unit;
  /** The largest value that is good. With neither bound the figure is told, and judged by nobody. */
  readonly max: number | undefined;
  /** The smallest value that is good. */
  readonly min: number | undefined;
  readonly passed: boolean;
}

export const GROUPS = ['messages', 'detection', 'clients', 'errors', 'recovery', 'proof'] as const;
export type Group = (typeof GROUPS)[number];

/** A figure that nobody judges: it says how large the sample was. */
export function told(group: Group, name: string, value: number | undefined, unit: Unit): Figure {
  return { group, name, value, unit, max: undefined, min: undefined, passed: true };
}

/** What did not happen, or could not be measured, is outside its bound. */
export function atMost(
  group: Group,
  name: string,
  value: number | undefined,
  unit: Unit,
  max: number,
): Figure {
  return { group, name, value, unit, max, min: undefined, passed: value !== undefined && value <= max };
}

/** A figure that has to be large enough. */
export function atLeast(group: Group, name: string, value: number, unit: Unit, min: number): Figure {
  return { group, name, value, unit, max: undefined, min, passed: value >= min };
}

/** Seconds between two times in milliseconds, never less than 0; undefined when the second never came. */
export function secondsSince(fromMs: number, toMs: number | undefined): number | undefined {
  return toMs === undefined ? undefined : Math.max(0, toMs - fromMs) / 1000;
}
