/**
 * Whether something on the way, such as a proxy, lets no WebSocket through. A client cannot tell that from a site that is
 * down, so it is a suspicion: sockets ended before the first word of a relay at two providers in a row. Then a long-poll is
 * tried. If that fails too nothing was blocked, but the network or the site is gone; if it works, the suspicion
 * holds until a socket is welcomed somewhere.
 */
export interface Blockage {
  /** A socket ended before a relay said anything. */
  silenced(provider: string): void;
  /** A relay was heard over a socket, or a long-poll did no better. */
  clear(): void;
  /** `providers`: how many there are; one silence is enough where there is only one. */
  isSuspected(providers: number): boolean;
}

const PROVIDERS_NEEDED = 2;

/** Begins without suspicion. */
export function createBlockage(): Blockage {
  const silenced = new Set<string>();
  return {
    silenced: (provider) => void silenced.add(provider),
    clear: () => silenced.clear(),
    isSuspected: (providers) => silenced.size >= Math.min(PROVIDERS_NEEDED, Math.max(1, providers)),
  };
}
