/**
 * Many seeds of one world: what happened in all of them together, and how to repeat the first that went wrong.
 */
import type { Clock } from '../../system/clock.ts';
import type { World } from './world.ts';

export interface CampaignOptions {
  readonly world: World;
  readonly from: number;
  readonly seeds: number;
  readonly mutant: string | undefined;
  /** Real time, for the rate; nothing in a world sees it. */
  readonly clock: Pick<Clock, 'monotonicMs'>;
  /** Gets a line now and then while it runs. */
  readonly progress: (line: string) => void;
  /** Ends the campaign at the first seed that fails. */
  readonly isStoppedByFailure: boolean;
}

export interface CampaignResult {
  readonly ran: number;
  /** Seeds with a violation, in order. */
  readonly failed: readonly number[];
  /** Of the first seed that failed. */
  readonly violations: readonly string[];
  readonly figures: Readonly<Record<string, number>>;
  readonly seedsPerSecond: number;
}

const PROGRESS_MS = 10_000;

/** Runs the seeds one after the other. */
export async function runCampaign(options: CampaignOptions): Promise<CampaignResult> {
  const { world, clock, mutant } = options;
  const beganMs = clock.monotonicMs();
  const figures: Record<string, number> = {};
  const failed: number[] = [];
  let violations: readonly string[] = [];
  let ran = 0;
  let saidMs = beganMs;
  while (ran < options.seeds && !(options.isStoppedByFailure && failed.length > 0)) {
    const seed = options.from + ran;
    const verdict = await world.run({
      seed,
      ...(mutant === undefined ? {} : { mutant }),
      say: () => undefined,
    });
    ran += 1;
    for (const [name, count] of Object.entries(verdict.figures)) figures[name] = (figures[name] ?? 0) + count;
    if (verdict.violations.length > 0) {
      if (failed.length === 0) violations = verdict.violations;
      failed.push(seed);
    }
    if (clock.monotonicMs() - saidMs >= PROGRESS_MS) {
      saidMs = clock.monotonicMs();
      options.progress(`${ran} of ${options.seeds} seeds, ${failed.length} failed`);
    }
  }
  const seconds = (clock.monotonicMs() - beganMs) / 1000;
  return { ran, failed, violations, figures, seedsPerSecond: seconds > 0 ? ran / seconds : 0 };
}

const FAILED_SHOWN = 20;

/** The summary as lines; `command` repeats one seed when the seed is put behind it. */
export function describeCampaign(result: CampaignResult, command: string): readonly string[] {
  const { ran, failed, violations, figures } = result;
  const width = Math.max(0, ...Object.keys(figures).map((name) => name.length));
  const lines = [`${ran} seeds, ${result.seedsPerSecond.toFixed(1)} a second`];
  for (const [name, count] of Object.entries(figures)) {
    lines.push(`  ${name.padEnd(width)}  ${count.toLocaleString('en')}`);
  }
  const [first] = failed;
  if (first === undefined) return [...lines, 'HOLDS: every invariant, in every seed.'];
  const shown = failed.slice(0, FAILED_SHOWN).join(', ') + (failed.length > FAILED_SHOWN ? ', …' : '');
  lines.push(`VIOLATED in ${failed.length} of ${ran} seeds: ${shown}`, `The first is ${first}:`);
  for (const violation of violations) lines.push(`  ${violation}`);
  return [...lines, `Repeat it: ${command} ${first}`];
}
