/**
 * Deleting for somebody who asked over HTTP, with a name for each way in which it may not be certain.
 */
import { fail, ok, type Result } from '../../system/result.ts';
import type { SignedAck } from '../core/ack.ts';
import type { Refusal } from '../core/refusal.ts';
import { StoreUnavailable } from '../ports.ts';
import type { Acceptor } from '../replication/acceptor.ts';
import { Congested } from '../replication/batcher.ts';

/** Resolves once this site remembers the tombstone; the others hear of it. */
export async function buryFor(
  acceptor: Pick<Acceptor, 'bury'>,
  tombstone: SignedAck,
): Promise<Result<undefined, Refusal>> {
  try {
    await acceptor.bury(tombstone);
    return ok(undefined);
  } catch (error) {
    if (error instanceof StoreUnavailable) return fail('store_unavailable');
    if (error instanceof Congested) return fail('overloaded');
    throw error;
  }
}
