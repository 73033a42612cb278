/**
 * The bounds of the default profile, in seconds, and the share of sends that may fail. Reasons: docs/drills.md.
 */
export const BOUNDS = {
  firstDownS: 7,
  quorumS: 8,
  answerS: 8,
  resolverS: 13,
  dnsOnly: { p50: 13, p99: 15, last: 15 },
  failoverSend: { p50: 0.3, p99: 1, last: 3 },
  failoverReceive: { p50: 1, p99: 1, last: 1 },
  failedShare: 0.01,
  twoCopiesS: 5,
  readyS: 20,
  threeCopiesS: 30,
  inEveryAnswerS: 45,
} as const;

/** What a site that does not answer at all adds to whatever waits for its answer: the time-out of a probe. */
export const SILENCE_S = 1;

/** Seconds. */
export interface OutageBounds {
  readonly p50: number;
  readonly p99: number;
  readonly last: number;
}

/** Fewer accepted messages than this during the fault prove nothing about it. */
export const ACCEPTED_DURING_FAULT_MIN = 100;

/** Each of these later by so many seconds. */
export function later(bounds: OutageBounds, seconds: number): OutageBounds {
  return { p50: bounds.p50 + seconds, p99: bounds.p99 + seconds, last: bounds.last + seconds };
}
