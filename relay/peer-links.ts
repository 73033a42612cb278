/**
 * The links to all other sites of the manifest in force. A newer manifest changes them one by one: a site that came gets
 * a link, one that left loses it, and one whose addresses or keys changed goes on over the connection that it has, as
 * long as that is still one of those that are listed.
 */
import type { SiteEntry, SiteName } from '../fleet/manifest/manifest.ts';
import type { PinnedDestination } from '../system/pinned-tls.ts';
import type { RunningPeerLink } from './adapters/peer-link.ts';
import type { EachLink } from './each-link.ts';

export interface PeerLinks {
  /** Always those of the manifest in force: hold on to this list, and to nothing in it. */
  readonly list: readonly RunningPeerLink[];
  readonly each: EachLink;
  /** The sites are others now; gives the names of those that left. */
  update(): readonly SiteName[];
  close(): Promise<void>;
}

export interface PeerLinksOptions {
  readonly own: SiteName;
  /** All sites of the manifest in force; the list changes with it. */
  readonly sites: readonly SiteEntry[];
  readonly destinationsOf: (site: SiteEntry) => readonly PinnedDestination[];
  readonly connect: (site: SiteEntry, destinations: () => readonly PinnedDestination[]) => RunningPeerLink;
}

interface Linked {
  readonly link: RunningPeerLink;
  readonly gone: AbortController;
}

/** Links that connect at once. */
export function createPeerLinks(options: PeerLinksOptions): PeerLinks {
  const linked: Linked[] = [];
  const list: RunningPeerLink[] = [];
  const works = new Set<(linked: Linked) => void>();
  const closing = new Set<Promise<void>>();
  const siteOf = ({ site, provider }: RunningPeerLink): SiteEntry | undefined =>
    options.sites.find((one) => one.name === site && one.provider === provider);
  const close = ({ link, gone }: Linked): void => {
    gone.abort(new Error(`${link.site} left the fleet`));
    const closed = link.close().finally(() => closing.delete(closed));
    closing.add(closed);
  };
  const open = (site: SiteEntry): void => {
    const destinations = (): readonly PinnedDestination[] => {
      const now = options.sites.find(({ name }) => name === site.name);
      return now === undefined ? [] : options.destinationsOf(now);
    };
    const one = { link: options.connect(site, destinations), gone: new AbortController() };
    linked.push(one);
    list.push(one.link);
    for (const begin of works) begin(one);
  };
  const update = (): readonly SiteName[] => {
    const leaving = linked.filter(({ link }) => siteOf(link) === undefined);
    for (const one of leaving) {
      linked.splice(linked.indexOf(one), 1);
      list.splice(list.indexOf(one.link), 1);
      close(one);
    }
    for (const { link } of linked) link.recheck();
    for (const site of options.sites) {
      if (site.name !== options.own && !list.some((link) => link.site === site.name)) open(site);
    }
    return leaving
      .map(({ link }) => link.site)
      .filter((name) => !options.sites.some((site) => site.name === name));
  };
  update();
  return {
    list,
    update,
    each: async (work, stopped) => {
      const running = new Set<Promise<void>>();
      const begin = ({ link, gone }: Linked): void => {
        const run = work(link, AbortSignal.any([stopped, gone.signal])).finally(() => running.delete(run));
        running.add(run);
      };
      linked.forEach(begin);
      works.add(begin);
      await aborted(stopped);
      works.delete(begin);
      await Promise.all(running);
    },
    close: async () => {
      linked.splice(0).forEach(close);
      list.splice(0);
      await Promise.all(closing);
    },
  };
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  signal.addEventListener('abort', () => resolve(), { once: true });
  await promise;
}
