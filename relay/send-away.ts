/**
 * Recipients of a site that is no good to them. A site that is cut off from the others, or has lost its store, still
 * holds its sockets open: a recipient there hears every beat and none of what the other sites accept. So whoever is
 * connected is sent elsewhere, as by a relay that stops.
 *
 * A break is not worth a move, so it has to last. Nobody is refused afterwards: a recipient that comes back may have
 * nowhere else to go, and gets what is here until it is asked to look again.
 */
import type { Clock } from '../system/clock.ts';
import type { RelayEvents } from './events.ts';
import type { Readiness } from './readiness.ts';
import type { Recipients } from './recipients.ts';

export interface SendAwayDeps {
  readonly readiness: Pick<Readiness, 'reasons'>;
  readonly recipients: Pick<Recipients, 'count' | 'sendAway'>;
  /** Origins of the sites that this one is in touch with. */
  readonly alternates: () => readonly string[];
  /** Over how long they leave at most, milliseconds. */
  readonly windowMsMax: number;
  readonly clock: Clock;
  readonly events: Pick<RelayEvents, 'sentAway'>;
}

/** A site that was not ready for so long is left, milliseconds: longer than a restart or a refill of a few messages. */
export const UNWELL_MS = 10_000;
/** And again after so long, milliseconds, while it lasts. */
export const AGAIN_MS = 60_000;
const LOOK_MS = 500;

/** Looks, and sends recipients away, until `stopped`. A relay that drains does so by itself. */
export async function runSendAway(deps: SendAwayDeps, stopped: AbortSignal): Promise<void> {
  const { clock, events, readiness, recipients } = deps;
  let dueMs: number | undefined;
  while (!stopped.aborted) {
    const reasons = readiness.reasons();
    const nowMs = clock.monotonicMs();
    if (reasons.length === 0 || reasons.includes('draining')) dueMs = undefined;
    else dueMs ??= nowMs + UNWELL_MS;
    if (dueMs !== undefined && nowMs >= dueMs) {
      dueMs = nowMs + AGAIN_MS;
      const count = recipients.count();
      if (count > 0) {
        events.sentAway(count, reasons.join(', '));
        await recipients.sendAway(deps.windowMsMax, deps.alternates());
      }
    }
    await clock.sleep(LOOK_MS, stopped).catch(() => undefined);
  }
}
