/**
 * Who holds what: after a write, the sites that confirmed it are told of each other, and the own outbox forgets
 * them. Both only save work. A notice that is lost leaves an entry in an outbox, and the entry is drained by
 * offering again what the other site already has.
 *
 * Notices wait a moment and travel together, because nobody waits for them.
 */
import type { SiteName } from '../../fleet/manifest/manifest.ts';
import type { Clock } from '../../system/clock.ts';
import type { Reference } from '../core/reference.ts';
import type { RelayEvents } from '../events.ts';
import type { MessageStore, PeerLink, Settlement } from '../ports.ts';

export interface Notices {
  /** `holders` hold `reference`; `isHere` says whether the own store is one of them. Never rejects. */
  tell(isHere: boolean, holders: ReadonlySet<SiteName>, reference: Reference): void;
  /** Sends what is waiting. */
  readonly flush: () => Promise<void>;
}

export interface NoticesDeps {
  readonly own: SiteName;
  readonly store: MessageStore;
  readonly links: readonly PeerLink[];
  readonly clock: Clock;
  readonly events: RelayEvents;
}

/** Well below the grace of the outbox; long enough for several messages of one partition to travel together. */
const GATHER_MS = 200;
const CALL_TIMEOUT_MS = 2000;
const REFERENCES_MAX = 2048;

/** Notices with nothing waiting; what cannot be told is dropped and counted. */
export function createNotices(deps: NoticesDeps): Notices {
  let settlements: Settlement[] = [];
  /** Receiver, then holder, then what that holder holds. */
  let notes = new Map<SiteName, Map<SiteName, Reference[]>>();
  let scheduled = false;

  const flush = async (): Promise<void> => {
    scheduled = false;
    const settling = settlements;
    const sending = notes;
    settlements = [];
    notes = new Map();
    const calls: Promise<unknown>[] = [];
    if (settling.length > 0) calls.push(deps.store.settle(settling));
    for (const link of deps.links) {
      for (const [holder, references] of sending.get(link.site) ?? []) {
        for (let from = 0; from < references.length; from += REFERENCES_MAX) {
          const page = references.slice(from, from + REFERENCES_MAX);
          // A link that is down rejects at once.
          calls.push(link.call({ type: 'held', site: holder, references: page }, CALL_TIMEOUT_MS));
        }
      }
    }
    for (const { status } of await Promise.allSettled(calls)) {
      if (status === 'rejected') deps.events.noticeLost();
    }
  };

  return {
    tell: (isHere, holders, reference) => {
      for (const receiver of holders) {
        if (receiver === deps.own) continue;
        // Without a copy of its own this site has no entry to forget.
        if (isHere) settlements.push({ site: receiver, reference });
        for (const holder of holders) {
          if (holder === receiver) continue;
          const ofReceiver = notes.get(receiver) ?? new Map<SiteName, Reference[]>();
          notes.set(receiver, ofReceiver);
          const references = ofReceiver.get(holder) ?? [];
          ofReceiver.set(holder, references);
          references.push(reference);
        }
      }
      if (scheduled) return;
      scheduled = true;
      deps.clock.after(GATHER_MS, () => void flush());
    },
    flush,
  };
}
