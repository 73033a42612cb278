/**
 * How a send ended, in the words of the ledger: a promise, a known refusal, or no knowledge. A time-out is never a
 * refusal.
 */
import { RefusedError, TransportError, UnreachableError } from '../../client/errors.ts';
import { describeError } from '../../system/log.ts';
import type { Outcome } from './ledger.ts';

export type SendOutcome = Pick<Outcome, 'kind' | 'detail'>;

/** What an error of the client library, or of its transport, says about the message. */
export function outcomeOf(error: unknown): SendOutcome {
  if (error instanceof TransportError) {
    return { kind: error.mayHaveArrived ? 'unknown' : 'refused', detail: error.fault };
  }
  if (error instanceof RefusedError) return { kind: 'refused', detail: `${error.status} ${error.code}` };
  if (error instanceof UnreachableError) {
    const detail = [...new Set(error.reasons)].sort().join('+');
    return { kind: error.unknown ? 'unknown' : 'refused', detail };
  }
  return { kind: 'unknown', detail: describeError(error) };
}
