/**
 * Which version of the manifest the relays of the own site hold: each says so whenever it asks for a newer one. A new key
 * of the ring may be minted with once every relay can open it, and this is how anybody knows.
 */
import type { Clock } from '../system/clock.ts';
import type { VantageFacts } from './status.ts';

/** Relays ask every few seconds; one that is silent for so long is gone. */
const SILENT_MS = 20_000;
const RELAYS_MAX = 256;

export interface RelayVersions {
  /** The relay process with this id holds this version, 0 for none. */
  note(relay: string, version: number): void;
  now(): VantageFacts['relays'];
}

/** Nobody has said anything at first. */
export function createRelayVersions(clock: Clock): RelayVersions {
  const relays = new Map<string, { readonly version: number; readonly atMs: number }>();
  return {
    note: (relay, version) => {
      const nowMs = clock.monotonicMs();
      for (const [key, { atMs }] of relays) if (nowMs - atMs >= SILENT_MS) relays.delete(key);
      if (relays.size < RELAYS_MAX || relays.has(relay)) relays.set(relay, { version, atMs: nowMs });
    },
    now: () => {
      const nowMs = clock.monotonicMs();
      const versions = [...relays.values()]
        .filter(({ atMs }) => nowMs - atMs < SILENT_MS)
        .map(({ version }) => version);
      return {
        count: versions.length,
        manifestVersionMin: versions.length === 0 ? null : Math.min(...versions),
      };
    },
  };
}
