/**
 * The whole catalogue, one drill after the other, each with a fleet of its own, and one summary. A drill that ends badly
 * ends only itself; an interruption ends them all.
 */
import { type DrillOptions, type DrillOutcome, type DrillResult, runDrill } from './drill.ts';
import { FAULT_NAMES, type FaultName } from './faults/catalogue.ts';
import type { Figure } from './figure.ts';
import { formatValue } from './report.ts';

export interface CampaignEntry {
  readonly fault: FaultName;
  readonly outcome: DrillOutcome;
}

/** From good to bad. */
const SEVERITY: readonly DrillResult[] = ['met', 'refused', 'unknown', 'aborted', 'not restored', 'missed'];

/** Columns of the summary: the figures that say most, under short names. */
const COLUMNS: readonly (readonly [title: string, names: readonly string[]])[] = [
  ['accepted', ['accepted']],
  ['lost', ['accepted but lost']],
  ['dup', ['duplicates seen by the application']],
  ['false', ['false withdrawals']],
  ['empty', ['empty answers']],
  ['answer', ['changed answer at ns-aws', 'changed answer at ns-gcp', 'changed answer at ns-hetzner']],
  ['stale', ['last stale answer of unbound']],
  ['dns back', ['DNS-only, last one back after the fault', 'DNS-only, last one back after its end']],
  ['p99', ['failover, send p99']],
];

/** Runs every fault of the catalogue; `onOutcome` is told of each as it ends. */
export async function runCampaign(
  options: Omit<DrillOptions, 'fault'>,
  onOutcome: (entry: CampaignEntry) => void,
): Promise<readonly CampaignEntry[]> {
  const entries: CampaignEntry[] = [];
  for (const fault of FAULT_NAMES) {
    if (options.signal.aborted) break;
    options.say(`== ${fault}`);
    const entry = { fault, outcome: await runDrill({ ...options, fault }) };
    entries.push(entry);
    onOutcome(entry);
  }
  return entries;
}

/** The result of the drill that ended worst. */
export function worstOf(entries: readonly CampaignEntry[]): DrillResult {
  const places = entries.map(({ outcome }) => SEVERITY.indexOf(outcome.result));
  return SEVERITY[Math.max(0, ...places)] ?? 'met';
}

/** The summary as people read it: a line for each fault, and below it what was missed. */
export function formatCampaign(entries: readonly CampaignEntry[]): string {
  const head = ['fault'.padEnd(11), 'result'.padEnd(12), 'takes'.padStart(6)];
  const lines = [[...head, ...COLUMNS.map(([title]) => title.padStart(9))].join(' ')];
  for (const { fault, outcome } of entries) {
    const takes = outcome.head === undefined ? '' : `${outcome.head.tookSeconds.toFixed(0)} s`;
    const cells = COLUMNS.map(([, names]) => cell(outcome.assessment?.figures ?? [], names).padStart(9));
    lines.push(
      [fault.padEnd(11), outcome.result.padEnd(12), takes.padStart(6), ...cells].join(' ').trimEnd(),
    );
    const reasons = outcome.assessment?.reasons ?? [outcome.trouble];
    if (outcome.result !== 'met') lines.push(...reasons.map((reason) => `    ${reason.split('\n')[0]}`));
  }
  const met = entries.filter(({ outcome }) => outcome.result === 'met').length;
  lines.push('', `${met} of ${entries.length} met. RESULT: ${worstOf(entries)}`);
  return lines.join('\n');
}

/** The largest value of the figures of these names; '' when there is none of them. */
function cell(figures: readonly Figure[], names: readonly string[]): string {
  const found = figures.filter(({ name }) => names.includes(name));
  const [first] = found;
  if (first === undefined) return '';
  const values = found.map(({ value }) => value ?? Number.POSITIVE_INFINITY);
  const value = formatValue(Math.max(...values), first.unit).replace(/ [a-z]{3,}$/, '');
  return found.every(({ passed }) => passed) ? value : `${value} !`;
}
