/**
 * How much a mailbox may hold, and who is refused first when the memory of the store runs short.
 *
 * A mailbox of which nothing was ever acked may belong to nobody, so it gets little. Above the mark of the memory
 * guard the least urgent and the unclaimed are refused first; the last part is left to the copies of other sites,
 * which are accepted already and are never refused for this.
 */
import type { MailboxUsage } from '../ports.ts';
import type { Urgency } from './message.ts';

export interface Quota {
  readonly messages: number;
  readonly bytes: number;
}

/** How full the store may be, as a share, for a message to come in. */
const FULLNESS_MAX: Readonly<Record<Urgency, number>> = {
  'very-low': 0.8,
  low: 0.85,
  normal: 0.9,
  high: 0.95,
};

/** The share above which somebody is refused. */
export const GUARD_FROM: number = FULLNESS_MAX['very-low'];

/** Whether a store of this fullness (0 to 1) takes a message from a sender. */
export function fitsInMemory(fullness: number, urgency: Urgency, isClaimed: boolean): boolean {
  return fullness < (isClaimed ? FULLNESS_MAX[urgency] : GUARD_FROM);
}

/** What a mailbox may still take; not above 0 when it is full. */
export function roomOf(usage: MailboxUsage, quota: Quota): Quota {
  return { messages: quota.messages - usage.messages, bytes: quota.bytes - usage.bytes };
}
