/**
 * Who listens to a mailbox. Nearly always that is one connection, so the second is the first for which a set is made: with
 * tens of thousands of idle recipients the sets would be a good part of what each of them costs.
 */
import type { MailboxTag } from './core/mailbox.ts';

export interface MailboxListeners<T extends object> {
  /** The same listener twice is one listener. */
  add(mailbox: MailboxTag, listener: T): void;
  remove(mailbox: MailboxTag, listener: T): void;
  /** Those of one mailbox, in the order in which they were added. */
  of(mailbox: MailboxTag): Iterable<T>;
  has(mailbox: MailboxTag): boolean;
}

/** Nobody listens yet. A listener is no `Set` itself. */
export function createMailboxListeners<T extends object>(): MailboxListeners<T> {
  const byMailbox = new Map<MailboxTag, T | Set<T>>();
  return {
    add: (mailbox, listener) => {
      const there = byMailbox.get(mailbox);
      if (there instanceof Set) there.add(listener);
      else if (there === undefined) byMailbox.set(mailbox, listener);
      else if (there !== listener) byMailbox.set(mailbox, new Set([there, listener]));
    },
    remove: (mailbox, listener) => {
      const there = byMailbox.get(mailbox);
      if (there === listener) byMailbox.delete(mailbox);
      if (!(there instanceof Set)) return;
      there.delete(listener);
      const [only] = there;
      if (only === undefined) byMailbox.delete(mailbox);
      else if (there.size === 1) byMailbox.set(mailbox, only);
    },
    of: (mailbox) => {
      const there = byMailbox.get(mailbox);
      if (there instanceof Set) return there;
      return there === undefined ? [] : [there];
    },
    has: (mailbox) => byMailbox.has(mailbox),
  };
}
