/**
 * The ids that a receiver remembers, so that an application gets each message once, however many sites send it.
 *
 * An id is remembered until its message has expired, after which no relay sends it. There is a limit all the same,
 * because a relay is not trusted to keep to it: over the limit the oldest are forgotten first, and those that
 * the application has in hand or is about to get never.
 */
export interface SeenEntry {
  /** False while the application may still ack it, or is yet to get it. */
  readonly isForgettable: boolean;
  /** Wall clock, milliseconds. */
  readonly expiresMs: number;
}

export interface Seen<Entry extends SeenEntry> {
  get(id: string): Entry | undefined;
  set(id: string, entry: Entry, nowMs: number): void;
  delete(id: string): void;
  readonly size: number;
}

const SWEEP_AT_MIN = 1024;

/** `idsMax`: how many ids are kept, unless more than that are not forgettable. */
export function createSeen<Entry extends SeenEntry>(idsMax: number): Seen<Entry> {
  const entries = new Map<string, Entry>();
  let sweepAt = Math.min(idsMax + 1, SWEEP_AT_MIN);
  const sweep = (nowMs: number): void => {
    for (const [id, entry] of entries) if (entry.isForgettable && entry.expiresMs < nowMs) entries.delete(id);
    // A quarter more than necessary goes, so that a full memory is not swept for every message.
    const excess = entries.size > idsMax ? entries.size - Math.floor(idsMax * 0.75) : 0;
    let forgotten = 0;
    for (const [id, entry] of entries) {
      if (forgotten >= excess) break;
      if (entry.isForgettable && entries.delete(id)) forgotten += 1;
    }
    sweepAt = Math.max(Math.min(entries.size * 2, idsMax + 1), entries.size + 1);
  };
  return {
    get: (id) => entries.get(id),
    set: (id, entry, nowMs) => {
      entries.set(id, entry);
      if (entries.size >= sweepAt) sweep(nowMs);
    },
    delete: (id) => {
      entries.delete(id);
    },
    get size() {
      return entries.size;
    },
  };
}
