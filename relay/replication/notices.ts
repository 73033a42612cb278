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
  /** What each site is to hear, this one too. */
  let notes = new Map<SiteName, Groups>();
  let scheduled = false;

  const flush = async (): Promise<void> => {
    scheduled = false;
    const sending = notes;
    notes = new Map();
    const calls: Promise<unknown>[] = [];
    const settled = sending.get(deps.own)?.all;
    if (settled !== undefined) calls.push(deps.store.settle(settled));
    for (const link of deps.links) {
      for (const { sites, references } of sending.get(link.site)?.all ?? []) {
        for (let from = 0; from < references.length; from += REFERENCES_MAX) {
          const page = references.slice(from, from + REFERENCES_MAX);
          // A link that is down rejects at once.
          calls.push(link.call({ type: 'held', sites, references: page }, CALL_TIMEOUT_MS));
        }
      }
    }
    for (const { status } of await Promise.allSettled(calls)) {
      if (status === 'rejected') deps.events.noticeLost();
    }
  };

  return {
    tell: (isHere, holders, reference) => {
      if (holders.size < 2) return;
      for (const receiver of holders) {
        // Without a copy of its own this site has no entry to forget.
        if (receiver === deps.own && !isHere) continue;
        const groups = notes.get(receiver) ?? createGroups(receiver);
        notes.set(receiver, groups);
        groups.add(holders, reference);
      }
      if (scheduled) return;
      scheduled = true;
      deps.clock.after(GATHER_MS, () => void flush());
    },
    flush,
  };
}

/** What one receiver is to hear, together for the same holders: nearly always the same ones hold everything. */
interface Groups {
  /** `holders`: two at least, of which one is the receiver. */
  add(holders: ReadonlySet<SiteName>, reference: Reference): void;
  readonly all: readonly Settlement[];
}

function createGroups(receiver: SiteName): Groups {
  const all: { readonly sites: readonly SiteName[]; readonly references: Reference[] }[] = [];
  return {
    all,
    add: (holders, reference) => {
      const known = all.find(
        ({ sites }) => sites.length === holders.size - 1 && sites.every((site) => holders.has(site)),
      );
      if (known !== undefined) known.references.push(reference);
      else all.push({ sites: [...holders].filter((site) => site !== receiver), references: [reference] });
    },
  };
}
