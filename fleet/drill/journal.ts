/**
 * The journal of a drill, for machines: everything that was measured and how, without a message or a key in it.
 */
import type { DrillOutcome } from './drill.ts';

/** JSON of the whole outcome. Infinite times, "never", are the string "never". */
export function journal(outcome: DrillOutcome): string {
  const { evidence, assessment } = outcome;
  const content = {
    format: 'archipelago-drill-1',
    result: outcome.result,
    trouble: outcome.trouble,
    run: outcome.head,
    reasons: assessment?.reasons,
    figures: assessment?.figures,
    findings: assessment?.findings,
    errorsByClass: assessment?.errorsByClass,
    timeline:
      evidence === undefined
        ? undefined
        : {
            unit: 'milliseconds of the monotonic clock',
            faultBeganMs: evidence.window.beganMs,
            faultProvedMs: evidence.provedMs,
            siteStartedAgainMs: evidence.window.endMs,
            ...evidence.recovery,
            answers: evidence.answers,
            vantageEvents: evidence.vantageEvents,
            links: [...evidence.ledgers.dns, ...evidence.ledgers.failover].filter(
              ({ kind }) => kind === 'link',
            ),
          },
  };
  return JSON.stringify(content, speakable, 2);
}

/** JSON has no infinity. */
function speakable(_name: string, value: unknown): unknown {
  return value === Number.POSITIVE_INFINITY ? 'never' : value;
}
