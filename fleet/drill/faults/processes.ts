/**
 * Faults of processes and of whole sites: killed, frozen, restarted, gone with everything they had.
 */
import type { LocalSite } from '../../local/site.ts';
import { refuses } from '../../local/site.ts';
import { type Cause, type Fault, PASSING, type Scene, SITE_LOST, UNNOTICED } from './fault.ts';
import { relayHangs } from './symptoms.ts';

const STOP_WITHIN_MS = 5000;
const READY_WITHIN_MS = 30_000;
/** Between two restarts of a rolling restart, so that clients and copies settle. */
const SETTLE_MS = 1500;

export type ProcessFault =
  | 'none'
  | 'kill'
  | 'destroyed'
  | 'crash'
  | 'relay-stop'
  | 'relay-kill'
  | 'all-down'
  | 'rolling';

export const PROCESS_FAULTS: Readonly<Record<ProcessFault, Fault>> = {
  none: {
    what: 'has no fault: the control run, in which nothing may happen',
    needs: [],
    seconds: 20,
    expects: UNNOTICED,
    inject: async () =>
      await Promise.resolve({
        done: 'control run: no fault, only time passes',
        isEffective: () => true,
        heal: async () => await Promise.resolve(),
      }),
  },
  kill: {
    what: 'is lost: every process killed at once, its data removed; it comes back empty',
    needs: [],
    seconds: 20,
    expects: SITE_LOST,
    inject: async ({ site }) => await killSite(site, 'data removed', () => site.wipe()),
  },
  destroyed: {
    what: 'is gone for good, and rebuilt empty much later, from the keys that its operators have kept',
    needs: [],
    seconds: 45,
    expects: SITE_LOST,
    inject: async ({ site }) => await killSite(site, 'data removed', () => site.wipe()),
  },
  crash: {
    what: 'crashes: every process killed at once; it comes back with the data that it had',
    needs: ['redis'],
    seconds: 20,
    expects: SITE_LOST,
    inject: async ({ site }) => await killSite(site, 'data kept', () => undefined),
  },
  'relay-stop': {
    what: 'has a relay that hangs (SIGSTOP): its port accepts connections and nothing answers',
    needs: [],
    seconds: 25,
    expects: { ...SITE_LOST, withdrawnAt: 'all', silent: true },
    inject: async ({ fleet, site }) => {
      site.part('relay').freeze();
      return await Promise.resolve({
        done: 'relay frozen',
        isEffective: async () => await relayHangs(fleet, site),
        heal: async () => await Promise.resolve(site.part('relay').thaw()),
      });
    },
  },
  'relay-kill': {
    what: 'loses its relay only, in the middle of accepting (SIGKILL); its Redis and its nameserver go on',
    needs: [],
    seconds: 20,
    expects: { ...SITE_LOST, withdrawnAt: 'all' },
    inject: async ({ fleet, site }) => {
      await site.part('relay').kill();
      return {
        done: 'relay killed',
        isEffective: async () => await refuses(site.layout.relayAddress, fleet.ports.relay),
        heal: async () => await site.part('relay').start(),
      };
    },
  },
  'all-down': {
    what: 'and all other sites have relays that hang (SIGSTOP): nobody can be served',
    needs: [],
    seconds: 20,
    expects: { ...PASSING, mayLeave: 'anybody', silent: true, noticed: true, failoverServed: false },
    inject: async ({ fleet }) => {
      const relays = fleet.sites.map((site) => site.part('relay'));
      for (const relay of relays) relay.freeze();
      return await Promise.resolve({
        done: 'every relay frozen',
        isEffective: async () =>
          (await Promise.all(fleet.sites.map(async (site) => await relayHangs(fleet, site)))).every(Boolean),
        heal: async () => {
          for (const relay of relays) relay.thaw();
          await Promise.resolve();
        },
      });
    },
  },
  rolling: {
    what: 'and then every other site has each of its processes restarted, one by one',
    needs: [],
    seconds: 10,
    expects: { ...PASSING, mayLeave: 'nobody' },
    inject: async (scene) => {
      const order = [scene.site, ...scene.others].flatMap((site) =>
        site.parts.map((part) => async () => await restart(scene, site, part.name)),
      );
      await order.shift()?.();
      return {
        done: `the first of ${order.length + 1} processes restarted`,
        isEffective: () => true,
        course: async (signal) => {
          for (const restartNext of order) {
            if (!signal.aborted) await restartNext();
          }
        },
        heal: async () => await Promise.resolve(),
      };
    },
  },
};

async function killSite(site: LocalSite, what: string, then: () => void): Promise<Cause> {
  const pids = await site.kill();
  then();
  return {
    done: `${pids.length} processes killed, ${what}`,
    isEffective: async () => await site.isGone(),
    heal: async () => await site.start(),
  };
}

/** Politely, as a deployment does, and waits until the site wants clients again. */
async function restart(
  { clock }: Scene,
  site: LocalSite,
  part: 'redis' | 'relay' | 'vantage',
): Promise<void> {
  await site.part(part).stop(STOP_WITHIN_MS);
  await site.part(part).start();
  await site.untilReady(READY_WITHIN_MS);
  await clock.sleep(SETTLE_MS);
}
