/**
 * The journal of a drill, for machines: everything that was measured and how, without a message or a key in it.
 */
import { type CampaignEntry, worstOf } from './campaign.ts';
import type { DrillOutcome } from './drill.ts';
import type { Evidence } from './evidence.ts';
import type { SendId } from './ledger.ts';

/** JSON of the whole outcome. Infinite times, "never", are the string "never". */
export function journal(outcome: DrillOutcome): string {
  return JSON.stringify(contentOf(outcome), speakable, 2);
}

/** JSON of a campaign: the journal of each drill, in the order in which they ran. */
export function campaignJournal(entries: readonly CampaignEntry[]): string {
  const content = {
    format: 'archipelago-drills-1',
    result: worstOf(entries),
    drills: entries.map(({ fault, outcome }) => ({ fault, ...contentOf(outcome) })),
  };
  return JSON.stringify(content, speakable, 2);
}

function contentOf(outcome: DrillOutcome): object {
  const { evidence, assessment } = outcome;
  return {
    format: 'archipelago-drill-1',
    result: outcome.result,
    trouble: outcome.trouble,
    run: outcome.head,
    reasons: assessment?.reasons,
    figures: assessment?.figures,
    findings: assessment?.findings,
    losses: evidence === undefined ? [] : lossesIn(evidence, assessment?.findings.lost ?? []),
    errorsByClass: assessment?.errorsByClass,
    timeline:
      evidence === undefined
        ? undefined
        : {
            unit: 'milliseconds of the monotonic clock',
            faultBeganMs: evidence.window.beganMs,
            faultProvedMs: evidence.provedMs,
            faultEndedMs: evidence.window.endMs,
            ...evidence.recovery,
            answers: evidence.answers,
            vantageEvents: evidence.vantageEvents,
            links: [...evidence.ledgers.dns, ...evidence.ledgers.failover].filter(
              ({ kind }) => kind === 'link',
            ),
          },
  };
}

/** For whom each lost message was, and when and by which site it was accepted, as far as its sender knows. */
function lossesIn({ ledgers }: Evidence, lost: readonly SendId[]): readonly object[] {
  const ids = new Set(lost);
  const entries = Object.values(ledgers).flat();
  const addressees = new Map(
    entries.flatMap((entry) =>
      entry.kind === 'attempt' && ids.has(entry.id) ? [[entry.id, entry.to] as const] : [],
    ),
  );
  return entries.flatMap((entry) =>
    entry.kind === 'accepted' && ids.has(entry.id)
      ? [{ id: entry.id, to: addressees.get(entry.id), acceptedMs: entry.endMs, by: entry.detail }]
      : [],
  );
}

/** JSON has no infinity. */
function speakable(_name: string, value: unknown): unknown {
  return value === Number.POSITIVE_INFINITY ? 'never' : value;
}
