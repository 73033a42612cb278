/**
 * A small Internet for a local fleet, so that the operating system can cut it: each site in a network namespace of its
 * own, all of them and this machine on one switch, and one packet filter in the switch, where no site can see or undo
 * it.
 *
 * What is cut heals by itself: every cut is an element of an nftables set with a timeout, which the kernel removes even
 * when nobody is left to do it. The addresses are of 198.18.0.0/15, which is set aside for tests of networks (RFC 2544).
 */
import { execFileSync } from 'node:child_process';
import type { Random } from '../../system/random.ts';
import type { Janitor } from './janitor.ts';
import type { SiteLayout } from './layout.ts';
import { configure, namespaceName, removeLeftovers, removeNamespace } from './namespaces.ts';

/** Packets from the first address to the second. */
export type Path = readonly [from: string, to: string];

export interface SiteNetwork {
  /** The command line that runs these words in the site's namespace, as the same process. */
  inside(site: string, words: readonly string[]): readonly string[];
  /** Drops every packet on these paths for so long, seconds. */
  cut(paths: readonly Path[], seconds: number): void;
  /** Drops 30 % of the packets on these paths, at random, for so long, seconds. */
  thin(paths: readonly Path[], seconds: number): void;
  /** Lets everything through from now on. */
  heal(): void;
  /** How many packets were dropped since the beginning: what proves that a cut is effective. */
  dropped(): number;
  dispose(): void;
}

const LOST_PERCENT = 30;
const TABLE = 'bridge drill';

const RULES = `
table ${TABLE} {
  set cut { type ipv4_addr . ipv4_addr; flags timeout; }
  set thin { type ipv4_addr . ipv4_addr; flags timeout; }
  chain forward {
    type filter hook forward priority 0; policy accept;
    ip saddr . ip daddr @cut counter drop
    ip saddr . ip daddr @thin numgen random mod 100 < ${LOST_PERCENT} counter drop
  }
}
`;

/** A network such as `198.18.7`. */
export function chooseTestNetwork(random: Random): string {
  const [a = 0, b = 0] = random.bytes(2);
  return `198.${18 + (a % 2)}.${b}`;
}

/** Makes it; needs root. What a dead process left of its own is removed first. */
export function createSiteNetwork(
  network: string,
  layouts: readonly SiteLayout[],
  janitor: Pick<Janitor, 'adoptNamespace'>,
): SiteNetwork {
  removeLeftovers();
  const hub = namespaceName('switch');
  const namespaces = new Map(layouts.map(({ name }) => [name, namespaceName(name)]));
  const own = [hub, ...namespaces.values()];
  for (const namespace of own) janitor.adoptNamespace(namespace);
  const device = `arch${process.pid}`;
  configure(undefined, [
    ...own.map((namespace) => `netns add ${namespace}`),
    `link add ${device} type veth peer name host netns ${hub}`,
    `address add ${network}.1/24 dev ${device}`,
    `link set ${device} up`,
  ]);
  configure(hub, [
    'link add switch type bridge',
    'link set switch up',
    ...layouts.map(({ name }) => `link add ${name} type veth peer name eth0 netns ${namespaces.get(name)}`),
    ...['host', ...layouts.map(({ name }) => name)].flatMap((port) => [
      `link set ${port} master switch`,
      `link set ${port} up`,
    ]),
  ]);
  for (const { name, relayAddress, vantageAddress, redisAddress } of layouts) {
    configure(namespaces.get(name), [
      'link set lo up',
      ...[relayAddress, vantageAddress, redisAddress].map((address) => `address add ${address}/24 dev eth0`),
      'link set eth0 up',
    ]);
  }
  const nft = (commands: string): string =>
    execFileSync('ip', ['netns', 'exec', hub, 'nft', '-j', commands], { encoding: 'utf8' });
  nft(RULES);
  const add = (set: 'cut' | 'thin', paths: readonly Path[], seconds: number): void => {
    const elements = paths.map(([from, to]) => `${from} . ${to} timeout ${Math.ceil(seconds * 1000)}ms`);
    nft(`flush set ${TABLE} ${set}\nadd element ${TABLE} ${set} { ${elements.join(', ')} }\n`);
  };
  return {
    inside: (site, words) => ['ip', 'netns', 'exec', namespaces.get(site) ?? '', ...words],
    cut: (paths, seconds) => add('cut', paths, seconds),
    thin: (paths, seconds) => add('thin', paths, seconds),
    heal: () => void nft(`flush set ${TABLE} cut\nflush set ${TABLE} thin\n`),
    dropped: () => countDropped(nft(`list chain ${TABLE} forward\n`)),
    dispose: () => own.forEach(removeNamespace),
  };
}

/** The packets of every counter in what `nft -j list` prints. */
export function countDropped(listing: string): number {
  return [...listing.matchAll(/"packets": ?(\d+)/g)].reduce((sum, [, packets]) => sum + Number(packets), 0);
}

/** Every path between the addresses of one side and those of the other, both ways. */
export function bothWays(one: readonly string[], other: readonly string[]): readonly Path[] {
  return one.flatMap((a) =>
    other.flatMap((b): Path[] => [
      [a, b],
      [b, a],
    ]),
  );
}
