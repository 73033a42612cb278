/**
 * A sender of a drill: open-loop, so a send begins when the schedule says, however long the one before takes. A
 * sender that waited for its answers would stop measuring exactly while things are bad (coordinated omission).
 */
import type { Subscription } from '../../client/push-url.ts';
import type { Clock } from '../../system/clock.ts';
import type { PlannedAddressee } from './client-plan.ts';
import type { LedgerWriter } from './ledger.ts';
import { makePayload } from './payload.ts';
import { outcomeOf, type SendOutcome } from './send-outcome.ts';

/** Sends one message once, in the manner of its population. Rejects with the client library's errors. */
export type Send = (recipient: Subscription, plaintext: Uint8Array) => Promise<string>;

export interface SenderLoopOptions {
  readonly name: string;
  readonly runId: string;
  readonly payloadBytes: number;
  readonly clock: Clock;
  readonly ledger: LedgerWriter;
  readonly send: Send;
  /** Asked in turn, from `first` on. */
  readonly addressees: readonly PlannedAddressee[];
  readonly first: number;
  readonly intervalMs: number;
  /** How far into the first interval it begins, in milliseconds. */
  readonly phaseMs: number;
  readonly onBegin: () => void;
  /** `isRead`: its mailbox has a recipient while the drill runs. */
  readonly onEnd: (outcome: SendOutcome, isRead: boolean) => void;
}

/** More sends than this at a time are not begun but written down as refused: the schedule goes on regardless. */
const OPEN_MAX = 256;

/** Sends until the signal aborts, then waits for the answers that are still due. */
export async function runSender(options: SenderLoopOptions, signal: AbortSignal): Promise<void> {
  const { clock } = options;
  const open = new Set<Promise<void>>();
  const originMs = clock.monotonicMs() + options.phaseMs;
  for (let sequence = 1; !signal.aborted; sequence += 1) {
    const intendedMs = originMs + (sequence - 1) * options.intervalMs;
    const leftMs = intendedMs - clock.monotonicMs();
    if (leftMs > 0) {
      try {
        await clock.sleep(leftMs, signal);
      } catch {
        break;
      }
    }
    const one = sendOne(options, sequence, intendedMs, open.size < OPEN_MAX);
    open.add(one);
    void one.finally(() => open.delete(one));
  }
  await Promise.all(open);
}

async function sendOne(
  options: SenderLoopOptions,
  sequence: number,
  intendedMs: number,
  hasRoom: boolean,
): Promise<void> {
  const { clock, ledger, name, addressees } = options;
  const addressee = addressees[(options.first + sequence) % addressees.length];
  if (addressee === undefined) return;
  const id = `${name}/${sequence}`;
  const to = addressee.label;
  ledger.write({ kind: 'attempt', id, client: name, to, intendedMs, startMs: clock.monotonicMs() });
  options.onBegin();
  let outcome: SendOutcome;
  try {
    outcome = hasRoom
      ? {
          kind: 'accepted',
          detail: await options.send(
            addressee.subscription,
            makePayload(options.runId, { id, to }, options.payloadBytes),
          ),
        }
      : { kind: 'refused', detail: 'the client has too many open sends' };
  } catch (error) {
    outcome = outcomeOf(error);
  }
  ledger.write({ ...outcome, id, endMs: clock.monotonicMs() });
  options.onEnd(outcome, addressee.isRead);
}
