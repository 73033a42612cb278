/**
 * Who asked for patience (`Retry-After`), shared by all messages of a sender, so that a relay with too much to do is
 * not asked again with the next message. Only what a relay says of itself is shared: that one mailbox gets too much,
 * or that a copy was not confirmed in time, says nothing about the next message.
 *
 * A relay that sheds load takes urgent messages for longest, so its word holds for the urgency that it was said to.
 */
export interface Patience {
  /** `untilMs`: monotonic, milliseconds. Does nothing for a code that is about one message. */
  asked(origin: string, urgency: string, code: string, untilMs: number): void;
  /** Monotonic milliseconds, 0 when nobody asked. */
  untilMs(origin: string, urgency: string): number;
}

/** Refusals of docs/protocol.md that are about the relay as a whole. */
const CODES: readonly string[] = ['overloaded', 'draining'];
/** Origin and urgency together; push URLs of other services may name any number of origins. */
const ENTRIES_MAX = 256;

/** Remembers no more than a bounded number of origins, the newest. */
export function createPatience(): Patience {
  const untilMs = new Map<string, number>();
  return {
    asked: (origin, urgency, code, atMs) => {
      if (!CODES.includes(code)) return;
      const key = keyOf(origin, urgency);
      untilMs.delete(key);
      untilMs.set(key, atMs);
      const oldest = untilMs.keys().next().value;
      if (untilMs.size > ENTRIES_MAX && oldest !== undefined) untilMs.delete(oldest);
    },
    untilMs: (origin, urgency) => untilMs.get(keyOf(origin, urgency)) ?? 0,
  };
}

function keyOf(origin: string, urgency: string): string {
  return `${urgency} ${origin}`;
}
