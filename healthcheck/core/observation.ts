/**
 * What one probe saw. Three kinds: the site is ready, the site failed (with the way it failed), or the trouble was
 * this vantage's own, and then it is no evidence about anybody.
 */
const FAILURES = [
  'not_ready',
  'refused',
  'unreachable',
  'timed_out',
  'tls_failed',
  'certificate_invalid',
  'response_malformed',
  // It says that it is ready, and messages do not get through it: canary.ts.
  'canary_failed',
] as const;
type Failure = (typeof FAILURES)[number];

const LOCAL_TROUBLES = ['local_error', 'local_stall'] as const;
export type LocalTrouble = (typeof LOCAL_TROUBLES)[number];

export type ProbeOutcome = 'ready' | Failure | LocalTrouble;
export const PROBE_OUTCOMES: readonly ProbeOutcome[] = ['ready', ...FAILURES, ...LOCAL_TROUBLES];

/** Whether the outcome says something about this vantage only, and so nothing about the site. */
export function isLocalTrouble(outcome: ProbeOutcome): outcome is LocalTrouble {
  return LOCAL_TROUBLES.some((trouble) => trouble === outcome);
}

/**
 * One outcome for all addresses of a target: ready when any of them is, failed only when every one of them failed,
 * and otherwise no evidence.
 */
export function combineOutcomes(outcomes: readonly ProbeOutcome[]): ProbeOutcome {
  if (outcomes.includes('ready')) return 'ready';
  return outcomes.find(isLocalTrouble) ?? outcomes[0] ?? 'local_error';
}
