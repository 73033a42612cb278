/**
 * A caching stub resolver, as every DNS-only client of a drill has one of its own: it keeps an answer for exactly its
 * TTL, never longer, and asks the zone's nameservers in turn.
 *
 * It is as simple as a resolver may be, so that what a drill measures is the failover layer: no stale answers, no
 * preference for fast servers, no sorting of addresses.
 */
import type { Clock } from '../../system/clock.ts';

export interface AddressAnswer {
  /** In the order in which the nameserver gave them. */
  readonly addresses: readonly string[];
  readonly ttlSeconds: number;
}

/** Asks one nameserver, by its place in the list, for the addresses of `name`. Rejects when it does not answer. */
type Ask = (nameserver: number, name: string) => Promise<AddressAnswer>;

export interface StubResolver {
  /** The addresses of `name`, from the cache while its TTL lasts. Rejects with `ResolutionFailed`. */
  resolve(name: string): Promise<readonly string[]>;
}

/** No nameserver gave an address. */
export class ResolutionFailed extends Error {
  override readonly name = 'ResolutionFailed';
}

export interface StubResolverOptions {
  readonly clock: Clock;
  readonly nameservers: number;
  /** The nameserver to begin with; each client another one. */
  readonly first: number;
  readonly ask: Ask;
}

/** A resolver with an empty cache. `resolve` rejects with `ResolutionFailed` when no nameserver has an address. */
export function createStubResolver(options: StubResolverOptions): StubResolver {
  const cache = new Map<string, { readonly addresses: readonly string[]; readonly untilMs: number }>();
  const asking = new Map<string, Promise<readonly string[]>>();
  let turn = options.first;

  async function askInTurn(name: string): Promise<readonly string[]> {
    for (let tries = 0; tries < options.nameservers; tries += 1) {
      const nameserver = turn % options.nameservers;
      turn += 1;
      try {
        const { addresses, ttlSeconds } = await options.ask(nameserver, name);
        if (addresses.length === 0) continue;
        cache.set(name, { addresses, untilMs: options.clock.monotonicMs() + ttlSeconds * 1000 });
        return addresses;
      } catch {
        // The next one is asked; that all failed is said below.
      }
    }
    throw new ResolutionFailed(`no nameserver answered for ${name}`);
  }

  return {
    resolve: async (name) => {
      const kept = cache.get(name);
      if (kept !== undefined && options.clock.monotonicMs() < kept.untilMs) return kept.addresses;
      const pending = asking.get(name) ?? askInTurn(name).finally(() => asking.delete(name));
      asking.set(name, pending);
      return await pending;
    },
  };
}
