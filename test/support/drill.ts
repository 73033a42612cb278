/**
 * A drill as a test runs it: in this process, silent, with what its report is made of at hand.
 */
import { type DrillOptions, type DrillOutcome, runDrill } from '../../fleet/drill/drill.ts';
import { systemClock } from '../../system/clock.ts';
import { systemRandom } from '../../system/random.ts';

/** Of one test with one drill, milliseconds: most of the better part of a minute that a drill takes is waiting. */
export const DRILL_TIMEOUT_MS = 180_000;

/** One provider killed, on the embedded store: what every machine can do. */
export const DRILL_OPTIONS: DrillOptions = {
  site: 'aws',
  fault: 'kill',
  store: 'memory',
  ratePerSecond: 60,
  faultSeconds: 12,
  clock: systemClock,
  random: systemRandom,
  say: () => undefined,
  signal: new AbortController().signal,
};

/** Runs a drill to its assessment, whatever that says; throws with all that it printed when it did not get so far. */
export async function drill(options: Partial<DrillOptions>): Promise<DrillOutcome> {
  const lines: string[] = [];
  const outcome = await runDrill({ ...DRILL_OPTIONS, say: (line) => lines.push(line), ...options });
  if (outcome.assessment === undefined) throw new Error(`${outcome.trouble}\n${lines.join('\n')}`);
  return outcome;
}
