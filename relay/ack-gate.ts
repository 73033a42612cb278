/**
 * Acks of what nobody here knows. An ack may come before its message: the recipient got it at another site, and this site's
 * copy is still on its way. So such an ack is kept as a tombstone; but anybody can make mailbox keys and sign acks of made-up
 * ids, so how many of them are kept is bounded: for each connection, for each mailbox, for the relay, and not at all once
 * the store runs short of memory. What is refused is not acked and will be sent again.
 *
 * An ack that names nothing but what is buried here is done already and leaves nothing behind: otherwise each choice among a
 * few acked ids would be a record of its own at every site. Beside others such ids take room in a record, and count for it.
 */
import type { Clock } from '../system/clock.ts';
import { createTokenBuckets } from '../system/token-buckets.ts';
import type { SignedAck } from './core/ack.ts';
import type { MessageId } from './core/message.ts';
import { GUARD_FROM } from './core/quota.ts';
import { referenceTo } from './core/reference.ts';
import type { RelayEvents } from './events.ts';
import type { MessageStore } from './ports.ts';

export interface AckGateDeps {
  readonly store: Pick<MessageStore, 'indexed' | 'buriedBy'>;
  /** Deletes and tells the other sites; rejects when that is not certain. */
  readonly bury: (ack: SignedAck) => Promise<void>;
  /** Share of the store's memory that is in use, 0 to 1. */
  readonly fullness: () => number;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly events: Pick<RelayEvents, 'ackedUnknown'>;
}

/**
 * Buries an ack; `doubtful` are those of its ids that were not sent to whoever acks. Rejects with `AcksTooFast` when
 * too many of them are unknown here, and with what `bury` rejects with.
 */
export type BuryAck = (ack: SignedAck, doubtful: readonly MessageId[]) => Promise<void>;

/** Too many of the acked ids are unknown here; nothing was done. */
export class AcksTooFast extends Error {
  override readonly name = 'AcksTooFast';
}

/** Unknown ids of one connection in all its life: eight full acks. */
export const CONNECTION_UNKNOWN_MAX = 4096;
export const MAILBOX_RATE = { perSecond: 8, burst: 1024, keysMax: 50_000 } as const;
export const RELAY_RATE = { perSecond: 256, burst: 32_768, keysMax: 1 } as const;
/**
 * Signatures that a relay checks of acks which name nothing that is on its way: so many come at once when clients lose a
 * provider, and a check takes 0.1 ms.
 */
export const DOUBTFUL_RATE = { perSecond: 1000, burst: 4096, keysMax: 1 } as const;
/** An id that is buried already takes so much less room than the tombstone of an unknown one, index and all. */
const BURIED_PER_UNKNOWN = 16;

/** Whether a relay looks at one more ack that names nothing which is on its way; `nowMs`: monotonic. */
export function createDoubtfulChecks(): (nowMs: number) => boolean {
  const checks = createTokenBuckets(DOUBTFUL_RATE);
  return (nowMs) => checks.take('', nowMs);
}

/** The returned function opens the gate for one connection, or one request. */
export function createAckGate(deps: AckGateDeps): () => BuryAck {
  const ofMailbox = createTokenBuckets(MAILBOX_RATE);
  const ofRelay = createTokenBuckets(RELAY_RATE);
  return () => {
    let left = CONNECTION_UNKNOWN_MAX;
    return async (ack, doubtful) => {
      if (doubtful.length > 0) {
        const references = doubtful.map((id) => referenceTo({ mailbox: ack.mailbox, id }));
        const burials = await deps.store.buriedBy(references);
        const others = references.filter((_, place) => burials[place] === undefined);
        const buried = references.length - others.length;
        if (buried === ack.ids.length) return;
        const unknown = (await deps.store.indexed(others)).filter((isKnown) => !isKnown).length;
        const cost = unknown + Math.floor(buried / BURIED_PER_UNKNOWN);
        left -= cost;
        const nowMs = deps.clock.monotonicMs();
        const isBounded =
          cost === 0 ||
          (left >= 0 &&
            (unknown === 0 || deps.fullness() < GUARD_FROM) &&
            ofMailbox.take(ack.mailbox, nowMs, cost) &&
            ofRelay.take('', nowMs, cost));
        if (!isBounded) throw new AcksTooFast('too many of the acked ids are unknown here');
        deps.events.ackedUnknown(unknown);
      }
      await deps.bury(ack);
    };
  };
}
