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
  /** `holders` hold `reference`. Never rejects. */
  tell(holders: ReadonlySet<SiteName>, reference: Reference): void;
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

/** What the same sites hold; nearly always the same ones hold everything. */
interface Group {
  readonly holders: ReadonlySet<SiteName>;
  readonly references: Reference[];
}

/** Notices with nothing waiting; what cannot be told is dropped and counted. */
export function createNotices(deps: NoticesDeps): Notices {
  let groups: Group[] = [];
  let scheduled = false;

  const flush = async (): Promise<void> => {
    scheduled = false;
    const sending = groups;
    groups = [];
    const calls: Promise<unknown>[] = [];
    const settled = sending.flatMap((group) => besides(deps.own, group));
    if (settled.length > 0) calls.push(deps.store.settle(settled));
    for (const link of deps.links) {
      for (const { sites, references } of sending.flatMap((group) => besides(link.site, group))) {
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
    tell: (holders, reference) => {
      if (holders.size < 2) return;
      const known = groups.find((group) => isSame(group.holders, holders));
      if (known === undefined) groups.push({ holders: new Set(holders), references: [reference] });
      else known.references.push(reference);
      if (scheduled) return;
      scheduled = true;
      deps.clock.after(GATHER_MS, () => void flush());
    },
    flush,
  };
}

/** What a site is told; nothing when it has no copy, because then it has no entry to forget. */
function besides(receiver: SiteName, { holders, references }: Group): readonly Settlement[] {
  if (!holders.has(receiver)) return [];
  return [{ sites: [...holders].filter((site) => site !== receiver), references }];
}

function isSame(one: ReadonlySet<SiteName>, other: ReadonlySet<SiteName>): boolean {
  return one.size === other.size && one.isSubsetOf(other);
}
