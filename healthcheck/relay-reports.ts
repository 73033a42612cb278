/**
 * What the relays of the own site say of themselves whenever they ask for a newer manifest: which version they hold, because
 * a new key of the ring may be minted with once every relay can open it; and which sites lack copies of messages, because
 * nobody should take another site out of service meanwhile.
 */
import type { SiteName } from '../fleet/manifest/manifest.ts';
import type { Clock } from '../system/clock.ts';
import type { VantageFacts } from './status.ts';

/** Relays ask every few seconds; one that is silent for so long is gone. */
const SILENT_MS = 20_000;
const RELAYS_MAX = 256;

interface RelayReport {
  /** Of the manifest that it holds, 0 for none. */
  readonly version: number;
  /** Sites that lack copies, as far as it knows: its own while it is refilled, others that are owed something old. */
  readonly lacking: readonly SiteName[];
}

export interface RelayReports {
  /** The relay process with this id says this. */
  note(relay: string, said: RelayReport): void;
  now(): VantageFacts['relays'];
}

/** Nobody has said anything at first. */
export function createRelayReports(clock: Clock): RelayReports {
  const relays = new Map<string, RelayReport & { readonly atMs: number }>();
  return {
    note: (relay, said) => {
      const nowMs = clock.monotonicMs();
      for (const [key, { atMs }] of relays) if (nowMs - atMs >= SILENT_MS) relays.delete(key);
      if (relays.size < RELAYS_MAX || relays.has(relay)) relays.set(relay, { ...said, atMs: nowMs });
    },
    now: () => {
      const nowMs = clock.monotonicMs();
      const recent = [...relays.values()].filter(({ atMs }) => nowMs - atMs < SILENT_MS);
      return {
        count: recent.length,
        manifestVersionMin: recent.length === 0 ? null : Math.min(...recent.map(({ version }) => version)),
        lacking: [...new Set(recent.flatMap(({ lacking }) => lacking))].toSorted(),
      };
    },
  };
}
