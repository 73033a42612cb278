/**
 * Messages that recipients break on: the same message heads a mailbox on one connection after the other and is
 * never acked, so what is behind it is never reached. Such a message is held back: it is sent after everything else
 * in its mailbox, and is never deleted for it. (Signal watches for the same loop.)
 *
 * What is remembered is of this relay only, in memory and bounded; forgetting it costs a few more rounds.
 */
import type { MailboxTag } from './mailbox.ts';

/** A message that headed this many connections in a row without an ack is held back on the next. */
export const HEADS_MAX = 5;
const MAILBOXES_MAX = 10_000;
const HELD_BACK_MAX = 16;

export interface DeliveryLoops {
  /** Notes what one connection is about to be sent first; true when that message is held back from now on. */
  noteHead(mailbox: MailboxTag, id: string): boolean;
  /** What is held back of this mailbox, in the order in which it is to be sent. */
  heldBack(mailbox: MailboxTag): readonly string[];
  /** What is first is last the next time, so that one bad message does not hide another. */
  rotate(mailbox: MailboxTag): void;
  /** These were acked. */
  forget(mailbox: MailboxTag, ids: readonly string[]): void;
}

interface Loop {
  head: string;
  heads: number;
  heldBack: readonly string[];
}

const NOTHING: readonly string[] = [];

/** Remembers how often a bounded number of messages were sent without an ack. */
export function createDeliveryLoops(): DeliveryLoops {
  const loops = new Map<MailboxTag, Loop>();
  return {
    noteHead: (mailbox, id) => {
      const loop = loops.get(mailbox) ?? { head: id, heads: 0, heldBack: NOTHING };
      // Whoever was quiet the longest is forgotten first.
      loops.delete(mailbox);
      loops.set(mailbox, loop);
      const [quietest] = loops.keys();
      if (loops.size > MAILBOXES_MAX && quietest !== undefined) loops.delete(quietest);
      loop.heads = loop.head === id ? loop.heads + 1 : 1;
      loop.head = id;
      if (loop.heads <= HEADS_MAX) return false;
      loop.heldBack = [...loop.heldBack, id].slice(-HELD_BACK_MAX);
      return true;
    },
    heldBack: (mailbox) => loops.get(mailbox)?.heldBack ?? NOTHING,
    rotate: (mailbox) => {
      const loop = loops.get(mailbox);
      if (loop !== undefined) loop.heldBack = [...loop.heldBack.slice(1), ...loop.heldBack.slice(0, 1)];
    },
    forget: (mailbox, ids) => {
      const loop = loops.get(mailbox);
      if (loop === undefined) return;
      if (loop.heldBack.length > 0) loop.heldBack = loop.heldBack.filter((id) => !ids.includes(id));
      if (loop.heldBack.length === 0 && ids.includes(loop.head)) loops.delete(mailbox);
    },
  };
}
