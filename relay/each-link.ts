/**
 * Work that goes on towards every other site, for as long as the fleet has that site: sites come and go with the manifest
 * while a relay runs.
 */
import type { PeerLink } from './ports.ts';

/**
 * Does `work` for every link there is, and for each one that comes, until the link is gone or `stopped`; resolves when
 * all of it has ended. `work` must not reject.
 */
export type EachLink = (
  work: (link: PeerLink, stopped: AbortSignal) => Promise<void>,
  stopped: AbortSignal,
) => Promise<void>;

/** For links that neither come nor go. */
export function eachOf(links: readonly PeerLink[]): EachLink {
  return async (work, stopped) => {
    await Promise.all(links.map((link) => work(link, stopped)));
  };
}
