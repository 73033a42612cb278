/**
 * The quotas of mailboxes and the memory guard, as a sender meets them.
 *
 * Asking the store for every message would cost as much as storing it. So a mailbox is looked at once, gets an
 * allowance, and is looked at again when that is used up: it may exceed its quota by an allowance for each relay of
 * the site, and one that gets few messages is never looked at. Quotas are per site and approximate.
 */
import type { Clock } from '../system/clock.ts';
import { createRecent } from '../system/recent.ts';
import type { MailboxTag } from './core/mailbox.ts';
import type { Urgency } from './core/message.ts';
import { fitsInMemory, GUARD_FROM, type Quota, roomOf } from './core/quota.ts';
import type { Refusal } from './core/refusal.ts';
import type { MailboxUsage, MessageStore } from './ports.ts';

export interface QuotasDeps {
  readonly store: Pick<MessageStore, 'usage' | 'fullness'>;
  /** Whether its owner is connected to this relay. */
  readonly isConnected: (mailbox: MailboxTag) => boolean;
  readonly mailbox: Quota;
  /** For a mailbox of which nothing was ever acked. */
  readonly unclaimed: Quota;
  /** How long a message may wait in one, seconds. */
  readonly unclaimedTtlSecondsMax: number;
  readonly clock: Clock;
}

interface Incoming {
  readonly mailbox: MailboxTag;
  readonly urgency: Urgency;
  readonly bytes: number;
}

export interface Quotas {
  /** Whether the message must be refused; counts it against the mailbox otherwise. At once unless it has to look. Never rejects. */
  refuses(message: Incoming): Refusal | undefined | Promise<Refusal | undefined>;
  /**
   * How long a message may wait of the `askedSeconds`: less in a mailbox that nobody has ever read, which may belong to
   * nobody. At once unless it has to look. Never rejects.
   */
  ttlSeconds(mailbox: MailboxTag, askedSeconds: number): number | Promise<number>;
  /** Share of the store's memory that was in use at the last look, 0 to 1. */
  readonly fullness: () => number;
  /** Looks at the memory until `stopped`. */
  readonly run: (stopped: AbortSignal) => Promise<void>;
}

/** What a mailbox gets before it is looked at, and at least between two looks if it has room. */
const ALLOWANCE: Quota = { messages: 16, bytes: 1024 * 1024 };
/** The part of its room that a mailbox gets between two looks when that is more. */
const ROOM_SHARE = 1 / 64;
const MAILBOXES_MAX = 50_000;
/** How long it is believed that nobody reads a mailbox, milliseconds. That somebody does is believed for ever. */
const UNCLAIMED_BELIEVED_MS = 5000;
const LOOK_MS = 1000;

/** What may come until the next look: a mailbox that is used much and has much room would else be looked at all the time. */
function allowanceIn({ messages, bytes }: Quota): Quota {
  return {
    messages: Math.min(messages, Math.max(ALLOWANCE.messages, Math.floor(messages * ROOM_SHARE))),
    bytes: Math.min(bytes, Math.max(ALLOWANCE.bytes, Math.floor(bytes * ROOM_SHARE))),
  };
}

/** Quotas that have not looked at any mailbox yet. */
export function createQuotas(deps: QuotasDeps): Quotas {
  const allowances = createRecent<MailboxTag, { messages: number; bytes: number }>(MAILBOXES_MAX);
  /** Until when a mailbox counts as never read; infinity for one that was read. */
  const claims = createRecent<MailboxTag, number>(MAILBOXES_MAX);
  let fullness = 0;
  const usageOf = (mailbox: MailboxTag): Promise<MailboxUsage | undefined> =>
    deps.store.usage(mailbox).catch(() => undefined);
  const isClaimed = (mailbox: MailboxTag, usage: MailboxUsage): boolean =>
    usage.isClaimed || deps.isConnected(mailbox);
  const grant = (mailbox: MailboxTag, { messages, bytes }: Quota): void => {
    allowances.set(mailbox, { messages, bytes });
  };

  const rememberClaim = (mailbox: MailboxTag, claimed: boolean): void => {
    claims.set(
      mailbox,
      claimed ? Number.POSITIVE_INFINITY : deps.clock.monotonicMs() + UNCLAIMED_BELIEVED_MS,
    );
  };
  const askClaim = async (mailbox: MailboxTag): Promise<boolean | undefined> => {
    const usage = await usageOf(mailbox);
    if (usage !== undefined) rememberClaim(mailbox, usage.isClaimed);
    return usage?.isClaimed;
  };
  /** Undefined when the store cannot be asked. */
  const wasRead = (mailbox: MailboxTag): boolean | Promise<boolean | undefined> => {
    const untilMs = claims.get(mailbox) ?? 0;
    if (untilMs === Number.POSITIVE_INFINITY || deps.isConnected(mailbox)) return true;
    return untilMs > deps.clock.monotonicMs() ? false : askClaim(mailbox);
  };
  const look = async ({ mailbox, urgency, bytes }: Incoming): Promise<Refusal | undefined> => {
    const usage = await usageOf(mailbox);
    // The store is away: whether it can take the message is for it to say.
    if (usage === undefined) return undefined;
    const claimed = isClaimed(mailbox, usage);
    if (!fitsInMemory(fullness, urgency, claimed)) return 'memory_short';
    const room = roomOf(usage, claimed ? deps.mailbox : deps.unclaimed);
    const isFull = room.messages < 1 || room.bytes < bytes;
    const next = isFull ? { messages: 1, bytes } : allowanceIn(room);
    grant(mailbox, { messages: next.messages - 1, bytes: next.bytes - bytes });
    return isFull ? 'mailbox_full' : undefined;
  };

  return {
    fullness: () => fullness,
    ttlSeconds: (mailbox, askedSeconds) => {
      if (askedSeconds <= deps.unclaimedTtlSecondsMax) return askedSeconds;
      const seconds = (answer: boolean | undefined): number =>
        answer === false ? deps.unclaimedTtlSecondsMax : askedSeconds;
      const isRead = wasRead(mailbox);
      return isRead instanceof Promise ? isRead.then(seconds) : seconds(isRead);
    },
    refuses: (message) => {
      const { mailbox, urgency, bytes } = message;
      if (!fitsInMemory(fullness, urgency, true)) return 'memory_short';
      const allowance = allowances.get(mailbox) ?? ALLOWANCE;
      const isCovered = allowance.messages >= 1 && allowance.bytes >= bytes;
      if (!isCovered || fullness >= GUARD_FROM) return look(message);
      grant(mailbox, { messages: allowance.messages - 1, bytes: allowance.bytes - bytes });
      return undefined;
    },
    run: async (stopped) => {
      while (!stopped.aborted) {
        // Whoever cannot be asked is not known to be fuller than before.
        fullness = await deps.store.fullness().catch(() => fullness);
        await deps.clock.sleep(LOOK_MS, stopped).catch(() => undefined);
      }
    },
  };
}
