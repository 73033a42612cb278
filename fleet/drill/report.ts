/**
 * The report as people read it in a terminal: every figure beside its bound, and one line that says how it ended.
 */
import { type FaultName, faultNamed } from './faults/catalogue.ts';
import { type Figure, GROUPS, type Group, type Unit } from './figure.ts';
import type { Assessment } from './figures.ts';
import type { Host } from './host.ts';

export interface ReportHead {
  readonly site: string;
  readonly fault: FaultName;
  readonly store: 'redis' | 'memory';
  readonly ratePerSecond: number;
  readonly faultSeconds: number;
  readonly tookSeconds: number;
  readonly runId: string;
  /** Repeats the phases and choices of the senders; keys and ports are drawn anew. */
  readonly seed: number;
  readonly host: Host;
}

const TITLES: Readonly<Record<Group, string>> = {
  messages: 'Messages',
  detection: 'Detection and answers, after the fault',
  clients: 'Clients',
  errors: 'Errors',
  recovery: 'Recovery',
  proof: 'What makes this run a proof',
};

const NAME_WIDTH = 50;

/** The whole report, several lines, without a final line feed. */
export function formatReport(head: ReportHead, assessment: Assessment, result: string): string {
  const { host } = head;
  const lines = [
    '',
    `Drill ${head.runId}, ${head.fault}: ${head.site} ${faultNamed(head.fault).what}.`,
    `${head.faultSeconds} s, ${head.ratePerSecond} sends/s, store ${head.store}, ${head.tookSeconds.toFixed(0)} s in all`,
    `Host: ${host.cores} cores (${host.processor}), ${(host.memoryBytes / 2 ** 30).toFixed(1)} GiB, ${host.kernel}, ` +
      `load before ${host.loadBefore.toFixed(1)}, Node ${host.node}, Redis ${host.redis ?? 'none'}, fsync p50 ${host.fsyncP50Ms.toFixed(2)} ms p99 ${host.fsyncP99Ms.toFixed(2)} ms`,
    `Commit: ${host.commit ?? 'unknown'}`,
  ];
  for (const group of GROUPS) {
    const figures = assessment.figures.filter((figure) => figure.group === group);
    if (figures.length > 0) lines.push('', TITLES[group], ...figures.map(formatFigure));
  }
  const { accepted, lost } = assessment.findings;
  if (lost.length === 0 && accepted > 0) {
    // Rule of three: zero events in n trials bound their probability at 3/n, with 95 % confidence.
    lines.push(
      '',
      `No loss in ${accepted} accepted messages: with 95 % confidence fewer than 1 in ${Math.floor(accepted / 3)}.`,
    );
  }
  lines.push('', ...assessment.reasons.map((reason) => `  ${reason}`), `RESULT: ${result}`);
  return lines.join('\n');
}

/** One line: name, value, bound, pass or FAIL. */
export function formatFigure(figure: Figure): string {
  const value = formatValue(figure.value, figure.unit).padStart(16);
  const { max, min, unit } = figure;
  const bound =
    max !== undefined
      ? `≤ ${formatValue(max, unit)}`
      : min !== undefined
        ? `≥ ${formatValue(min, unit)}`
        : '';
  const mark = bound === '' ? '' : figure.passed ? 'pass' : 'FAIL';
  return `  ${figure.name.padEnd(NAME_WIDTH)}${value}   ${bound.padEnd(15)} ${mark}`.trimEnd();
}

/** As people read it; a time below a second in milliseconds. */
export function formatValue(value: number | undefined, unit: Unit): string {
  if (value === undefined) return '–';
  if (!Number.isFinite(value)) return 'never';
  if (unit !== 's') return `${value} ${unit}`;
  return value < 1 ? `${(value * 1000).toFixed(0)} ms` : `${value.toFixed(1)} s`;
}
