/**
 * Faults of the network between sites, vantages and clients, cut by the operating system.
 *
 * Everything that the drill and its clients do comes from one address, this machine's; a site has one for its relay
 * and one for its vantage with the nameserver.
 */
import type { LocalSite } from '../../local/site.ts';
import { bothWays, type Path, type SiteNetwork } from '../../local/site-network.ts';
import { type Cause, type Fault, PASSING, type Scene, SITE_LOST, UNNOTICED } from './fault.ts';

/** A cut ends by itself so long after it should have been healed, even when the drill is dead. */
const DEAD_MAN_SECONDS = 5;
const FLAP_MS = 1000;

export type NetworkFault = 'black-hole' | 'partition' | 'one-way' | 'partial' | 'flap' | 'loss' | 'isolated';

export const NETWORK_FAULTS: Readonly<Record<NetworkFault, Fault>> = {
  'black-hole': {
    what: 'vanishes: every packet to it and from it is dropped, and nobody is told',
    needs: ['namespaces'],
    seconds: 25,
    expects: { ...SITE_LOST, silent: true },
    inject: async (scene) => await cut(scene, 'every packet to it and from it dropped', everything(scene)),
  },
  partition: {
    what: 'is cut off from the other sites; clients still reach it',
    needs: ['namespaces'],
    seconds: 25,
    expects: { ...SITE_LOST, service: 'restored after it', silent: true, noticed: false },
    inject: async (scene) =>
      await cut(
        scene,
        'cut off from the other sites',
        bothWays(addresses(scene.site), addressesOf(scene.others)),
      ),
  },
  'one-way': {
    what: 'no longer reaches one other site; what that one sends still arrives',
    needs: ['namespaces'],
    seconds: 20,
    expects: UNNOTICED,
    inject: async (scene) => {
      const to = addressesOf(scene.others.slice(0, 1));
      const paths = addresses(scene.site).flatMap((from) => to.map((address): Path => [from, address]));
      return await cut(scene, `its packets to ${nameOfFirst(scene)} dropped`, paths);
    },
  },
  partial: {
    what: 'and one other site cannot reach each other; the third site reaches both',
    needs: ['namespaces'],
    seconds: 20,
    expects: UNNOTICED,
    inject: async (scene) =>
      await cut(
        scene,
        `cut off from ${nameOfFirst(scene)}, and from nobody else`,
        bothWays(addresses(scene.site), addressesOf(scene.others.slice(0, 1))),
      ),
  },
  flap: {
    what: 'vanishes for a second and is there for a second, in turn',
    needs: ['namespaces'],
    seconds: 25,
    expects: { ...PASSING, silent: true, noticed: true },
    inject: async (scene) => {
      const network = networkOf(scene);
      const before = network.dropped();
      const paths = everything(scene);
      const vanish = (): void => network.cut(paths, FLAP_MS / 1000);
      vanish();
      return await Promise.resolve({
        done: 'vanishes every other second',
        isEffective: () => network.dropped() > before,
        isEndless: true,
        course: async (signal) => {
          while (!signal.aborted) {
            await scene.clock.sleep(2 * FLAP_MS, signal).catch(() => undefined);
            if (!signal.aborted) vanish();
          }
        },
        heal: async () => await Promise.resolve(network.heal()),
      });
    },
  },
  loss: {
    what: 'has a vantage that loses 30 % of its packets to the other sites and from them',
    needs: ['namespaces'],
    seconds: 25,
    expects: UNNOTICED,
    inject: async (scene) => {
      const network = networkOf(scene);
      const before = network.dropped();
      network.thin(
        bothWays([scene.site.layout.vantageAddress], addressesOf(scene.others)),
        scene.seconds + DEAD_MAN_SECONDS,
      );
      return await Promise.resolve({
        done: '30 % of the packets of its vantage dropped',
        isEffective: () => network.dropped() > before,
        heal: async () => await Promise.resolve(network.heal()),
      });
    },
  },
  isolated: {
    what: 'has a vantage that is cut off from all other sites; its relay is not',
    needs: ['namespaces'],
    seconds: 25,
    expects: UNNOTICED,
    inject: async (scene) =>
      await cut(
        scene,
        'vantage cut off from the other sites',
        bothWays([scene.site.layout.vantageAddress], addressesOf(scene.others)),
      ),
  },
};

async function cut(scene: Scene, done: string, paths: readonly Path[]): Promise<Cause> {
  const network = networkOf(scene);
  const before = network.dropped();
  network.cut(paths, scene.seconds + DEAD_MAN_SECONDS);
  return await Promise.resolve({
    done,
    isEffective: () => network.dropped() > before,
    heal: async () => await Promise.resolve(network.heal()),
  });
}

function networkOf({ fleet }: Scene): SiteNetwork {
  if (fleet.network === undefined) throw new Error('the sites are not in namespaces of their own');
  return fleet.network;
}

function addresses({ layout }: LocalSite): readonly string[] {
  return [layout.relayAddress, layout.vantageAddress];
}

function addressesOf(sites: readonly LocalSite[]): readonly string[] {
  return sites.flatMap(addresses);
}

/** Every path between the site and everybody else, this machine included. */
function everything({ fleet, others, site }: Scene): readonly Path[] {
  return bothWays(addresses(site), [...addressesOf(others), fleet.hostAddress]);
}

function nameOfFirst({ others }: Scene): string {
  return others[0]?.layout.name ?? '';
}
