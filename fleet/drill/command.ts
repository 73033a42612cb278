/**
 * `npm run drill`: runs one drill or all of them, prints what people read, and writes what machines read.
 */
import { writeFileSync } from 'node:fs';
import { systemClock } from '../../system/clock.ts';
import { systemRandom } from '../../system/random.ts';
import { WRONG_USAGE } from '../commands/command.ts';
import type { LocalSiteName } from '../local/fleet.ts';
import type { StoreKind } from '../local/site.ts';
import { formatCampaign, runCampaign, worstOf } from './campaign.ts';
import { type DrillOptions, type DrillOutcome, EXIT_CODES, runDrill } from './drill.ts';
import type { FaultName } from './faults/catalogue.ts';
import { campaignJournal, journal } from './journal.ts';
import { formatReport } from './report.ts';

export interface DrillCommand {
  readonly site: LocalSiteName;
  readonly fault: FaultName | 'all';
  readonly store: StoreKind;
  readonly ratePerSecond: number;
  readonly faultSeconds: number | undefined;
  readonly json: string | undefined;
  readonly port: number | undefined;
  readonly release: string | undefined;
  readonly signal: AbortSignal;
  readonly print: (line: string) => void;
  readonly complain: (line: string) => void;
}

/** Gives the exit code. */
export async function runDrillCommand(command: DrillCommand): Promise<number> {
  const { complain, json, print } = command;
  if (json !== undefined && !canWrite(json)) {
    complain(`--json: ${JSON.stringify(json)} cannot be written.`);
    return WRONG_USAGE;
  }
  const options = {
    site: command.site,
    store: command.store,
    ratePerSecond: command.ratePerSecond,
    faultSeconds: command.faultSeconds,
    release: command.release,
    ...(command.port === undefined ? {} : { relayPort: command.port }),
    clock: systemClock,
    random: systemRandom,
    say: print,
    signal: command.signal,
  };
  if (command.fault === 'all') return await runAll(options, command);
  const outcome = await runDrill({ ...options, fault: command.fault });
  show(outcome, command);
  if (json !== undefined) writeFileSync(json, `${journal(outcome)}\n`);
  return EXIT_CODES[outcome.result];
}

async function runAll(options: Omit<DrillOptions, 'fault'>, command: DrillCommand): Promise<number> {
  const entries = await runCampaign(options, ({ outcome }) => show(outcome, command));
  command.print(`\n${formatCampaign(entries)}`);
  if (command.json !== undefined) writeFileSync(command.json, `${campaignJournal(entries)}\n`);
  return EXIT_CODES[worstOf(entries)];
}

function show({ assessment, head, result, trouble }: DrillOutcome, { complain, print }: DrillCommand): void {
  if (head !== undefined && assessment !== undefined) print(formatReport(head, assessment, result));
  else complain(`RESULT: ${result}. ${trouble}`);
}

function canWrite(path: string): boolean {
  try {
    writeFileSync(path, '');
    return true;
  } catch {
    return false;
  }
}
