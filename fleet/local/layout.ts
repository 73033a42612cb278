/**
 * Where everything of a local fleet listens: a random 127.a.b.0/24 of its own, the same places in it for each site.
 *
 * Own addresses, not only own ports, because A records carry no port: the relays of all sites share one port, and the
 * nameservers another, as in production. Two fleets on one machine then do not meet.
 */
import type { Random } from '../../system/random.ts';

export interface SiteLayout {
  readonly name: string;
  readonly relayAddress: string;
  readonly vantageAddress: string;
  readonly redisAddress: string;
}

export interface Ports {
  /** TLS, clients and peers, at every relay address. */
  readonly relay: number;
  /** UDP and TCP at every vantage address. */
  readonly dns: number;
  readonly votes: number;
  /** Health and metrics, at the relay and at the vantage address. */
  readonly private: number;
  readonly redis: number;
}

/** One kind of port: which candidates to try, and where it must be free. */
export interface PortWish {
  readonly kind: keyof Ports;
  readonly candidates: readonly number[];
  readonly addresses: readonly string[];
  /** UDP as well as TCP. */
  readonly datagrams: boolean;
}

/** The third-octet network of a fleet, such as `127.81.7`. Never 127.0.x, where everything else listens. */
export function chooseNetwork(random: Random): string {
  const [a = 0, b = 0] = random.bytes(2);
  return `127.${1 + (a % 254)}.${b}`;
}

/** Addresses of up to 16 sites; those of the n-th site end in n·10+1 (relay), +2 (vantage) and +3 (Redis). */
export function layOut(network: string, names: readonly string[]): readonly SiteLayout[] {
  return names.map((name, index) => ({
    name,
    relayAddress: `${network}.${(index + 1) * 10 + 1}`,
    vantageAddress: `${network}.${(index + 1) * 10 + 2}`,
    redisAddress: `${network}.${(index + 1) * 10 + 3}`,
  }));
}

/**
 * Which ports a fleet needs. Candidates are unprivileged and below 32768, where Linux begins to hand out ports for
 * outgoing connections. A `relayPort` that the operator chose is the only candidate of its kind.
 */
export function portWishes(sites: readonly SiteLayout[], relayPort: number | undefined): readonly PortWish[] {
  const relays = sites.map((site) => site.relayAddress);
  const vantages = sites.map((site) => site.vantageAddress);
  return [
    {
      kind: 'relay',
      candidates: relayPort === undefined ? candidatesFrom(8443) : [relayPort],
      addresses: relays,
      datagrams: false,
    },
    { kind: 'dns', candidates: candidatesFrom(5300), addresses: vantages, datagrams: true },
    { kind: 'votes', candidates: candidatesFrom(7400), addresses: vantages, datagrams: false },
    {
      kind: 'private',
      candidates: candidatesFrom(9500),
      addresses: [...relays, ...vantages],
      datagrams: false,
    },
    {
      kind: 'redis',
      candidates: candidatesFrom(6400),
      addresses: sites.map((site) => site.redisAddress),
      datagrams: false,
    },
  ];
}

/** The ports of a fleet that is alone at its addresses: of each kind the first candidate. */
export function firstWishes(wishes: readonly PortWish[]): Ports {
  const ports: Record<keyof Ports, number> = { relay: 0, dns: 0, votes: 0, private: 0, redis: 0 };
  for (const { kind, candidates } of wishes) ports[kind] = candidates[0] ?? 0;
  return ports;
}

function candidatesFrom(first: number): readonly number[] {
  return Array.from({ length: 50 }, (_, index) => first + index);
}
