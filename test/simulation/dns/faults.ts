/**
 * What goes wrong in a world of the decision layer: a few episodes that overlap, or one alone, whose detection is
 * then timed. All of it ends when the world is healed.
 */
import type { Manifest, SiteName } from '../../../fleet/manifest/manifest.ts';
import { providersNeeded } from '../../../healthcheck/core/quorum.ts';
import { targetsOf } from '../../../healthcheck/core/target.ts';
import type { Random } from '../../../system/random.ts';
import type { Trace } from '../trace.ts';
import type { VirtualTime } from '../virtual-time.ts';
import type { DnsNetwork } from './network.ts';
import type { SimulatedVantage } from './vantage.ts';

interface DnsFaultsOptions {
  readonly manifest: Manifest;
  readonly network: DnsNetwork;
  readonly vantages: readonly SimulatedVantage[];
  readonly time: VirtualTime;
  readonly random: Random;
  readonly trace: Trace;
  /** The site has been dead for as long as it may take to leave every answer, and nothing else is wrong. */
  readonly overdue: (site: SiteName) => void;
  /** From now on there is a surge, and nothing else is wrong but that one site may die. */
  readonly surging: () => void;
}

export interface DnsFaults {
  schedule(untilMs: number): void;
  heal(): void;
  figures(): Readonly<Record<string, number>>;
}

const KINDS = [
  'site',
  'family',
  'provider',
  'flapping',
  'all_sites',
  'split',
  'one_way',
  'path',
  'loss',
  'isolated',
  'crash',
  'crash_loop',
  'delay',
  'vote_loss',
  'clock',
  'liar',
  'outside',
  'surge',
] as const;
type Kind = (typeof KINDS)[number];

/** Before this every vantage has looked at everything and heard everybody. */
const SETTLED_MS = 30_000;

export function createDnsFaults(options: DnsFaultsOptions): DnsFaults {
  const { manifest, network, vantages, time, random, trace } = options;
  const counts = new Map<Kind, number>(KINDS.map((kind) => [kind, 0]));
  const cancels: (() => void)[] = [];
  const later = (ms: number, act: () => void): void => void cancels.push(time.after(ms, act));
  const pick = <Item>(items: readonly Item[]): Item => {
    const item = items[Math.floor(random.fraction() * items.length)];
    if (item === undefined) throw new Error('nothing to choose from');
    return item;
  };
  const setSite = (site: SiteName, up: boolean): void => {
    for (const target of targetsOf(manifest)) if (target.site === site) network.setUp(target, up);
  };
  const revive = (vantage: SimulatedVantage): void => {
    if (!vantage.isAlive()) vantage.start();
  };
  const cutOff = (vantage: SimulatedVantage, open: boolean): void => {
    for (const other of vantages) {
      network.setVotePath(vantage.name, other.name, open);
      network.setVotePath(other.name, vantage.name, open);
    }
    for (const { name } of manifest.sites) network.setProbeLoss(vantage.name, name, open ? 0 : 1);
    network.setOutside(vantage.name, open);
  };
  // A lone vantage that suffices for a withdrawal can cause one by lying; two sites alone are not proof against it.
  const mayLie = targetsOf(manifest).every((target) => providersNeeded(target, manifest) > 1);

  /** Begins an episode and gives what ends it. */
  const begin: Readonly<Record<Kind, (forMs: number) => () => void>> = {
    site: () => {
      const { name } = pick(manifest.sites);
      setSite(name, false);
      return () => setSite(name, true);
    },
    family: () => {
      const target = pick(targetsOf(manifest));
      network.setUp(target, false);
      return () => network.setUp(target, true);
    },
    provider: () => {
      const { provider } = pick(manifest.sites);
      const gone = manifest.sites.filter((site) => site.provider === provider).map(({ name }) => name);
      for (const name of gone) setSite(name, false);
      for (const vantage of vantages) if (gone.includes(vantage.name)) vantage.crash();
      return () => {
        for (const name of gone) setSite(name, true);
        for (const vantage of vantages) if (gone.includes(vantage.name)) revive(vantage);
      };
    },
    flapping: (forMs) => {
      const { name } = pick(manifest.sites);
      const periodMs = 1000 + random.fraction() * 15_000;
      for (let atMs = 0; atMs < forMs; atMs += 2 * periodMs) {
        later(atMs, () => setSite(name, false));
        later(atMs + periodMs, () => setSite(name, true));
      }
      return () => setSite(name, true);
    },
    all_sites: () => {
      for (const { name } of manifest.sites) setSite(name, false);
      return () => {
        for (const { name } of manifest.sites) setSite(name, true);
      };
    },
    split: () => {
      const here = new Set(vantages.filter(() => random.fraction() < 0.5).map(({ name }) => name));
      const set = (open: boolean): void => {
        for (const one of vantages) {
          for (const { name } of [...vantages, ...manifest.sites]) {
            if (here.has(one.name) === here.has(name)) continue;
            network.setVotePath(one.name, name, open);
            network.setProbeLoss(one.name, name, open ? 0 : 1);
          }
        }
      };
      set(false);
      return () => set(true);
    },
    one_way: () => {
      const [from, to] = [pick(vantages).name, pick(vantages).name];
      network.setVotePath(from, to, false);
      return () => network.setVotePath(from, to, true);
    },
    path: () => {
      const [vantage, site] = [pick(vantages).name, pick(manifest.sites).name];
      network.setProbeLoss(vantage, site, 1);
      return () => network.setProbeLoss(vantage, site, 0);
    },
    loss: () => {
      const vantage = pick(vantages).name;
      const loss = 0.1 + 0.6 * random.fraction();
      for (const { name } of manifest.sites) network.setProbeLoss(vantage, name, loss);
      return () => {
        for (const { name } of manifest.sites) network.setProbeLoss(vantage, name, 0);
      };
    },
    isolated: () => {
      const vantage = pick(vantages);
      cutOff(vantage, false);
      return () => cutOff(vantage, true);
    },
    crash: () => {
      const vantage = pick(vantages);
      vantage.crash();
      return () => revive(vantage);
    },
    crash_loop: (forMs) => {
      const vantage = pick(vantages);
      for (let atMs = 0; atMs < forMs; atMs += 500 + random.fraction() * 8000) {
        later(atMs, () => {
          vantage.crash();
          vantage.start();
        });
      }
      return () => revive(vantage);
    },
    delay: () => {
      network.setDelay(200 + random.fraction() * 9000);
      return () => network.setDelay(50);
    },
    vote_loss: () => {
      network.setVoteLoss(0.2 + 0.6 * random.fraction());
      return () => network.setVoteLoss(0);
    },
    clock: () => {
      const vantage = pick(vantages);
      vantage.skewWallClock((random.fraction() - 0.5) * 7_200_000);
      return () => vantage.skewWallClock(0);
    },
    liar: () => {
      const liar = mayLie && !vantages.some((vantage) => vantage.isLiar()) ? pick(vantages) : undefined;
      const always = pick(['up', 'down', 'unknown', 'any'] as const);
      liar?.lie(() => (always === 'any' ? pick(['up', 'down', 'unknown'] as const) : always));
      return () => liar?.lie(undefined);
    },
    surge: () => {
      network.setDemand(0.6 + 0.6 * random.fraction());
      return () => network.setDemand(0);
    },
    outside: () => {
      const vantage = pick(vantages).name;
      network.setOutside(vantage, false);
      return () => network.setOutside(vantage, true);
    },
  };

  const episode = (kind: Kind, atMs: number, forMs: number): void =>
    later(atMs, () => {
      counts.set(kind, (counts.get(kind) ?? 0) + 1);
      trace.note('fault', `${kind} for ${Math.round(forMs)} ms`);
      const end = begin[kind](forMs);
      later(forMs, () => {
        trace.note('fault', `${kind} ends`);
        end();
      });
    });

  /** One site dies and nothing else happens: then there is a time by which it must be gone. */
  const alone = (): void => {
    const { probeIntervalMs, probeTimeoutMs, downAfter } = manifest.health;
    const { name } = pick(manifest.sites);
    const atMs = Math.max(0, SETTLED_MS - time.nowMs()) + 10_000 * random.fraction();
    const withinMs = downAfter * probeIntervalMs + probeTimeoutMs + 1000;
    later(atMs, () => {
      trace.note('fault', `${name} dies, alone`);
      counts.set('site', (counts.get('site') ?? 0) + 1);
      setSite(name, false);
    });
    later(atMs + withinMs, () => options.overdue(name));
    later(atMs + withinMs + random.fraction() * 40_000, () => setSite(name, true));
  };

  /** Clients need most of what there is, or more, and lose one site; it must go, and take nobody with it. */
  const surge = (): void => {
    later(SETTLED_MS, () => {
      const demand = 0.5 + 0.7 * random.fraction();
      trace.note('fault', `a surge of ${demand.toFixed(2)}`);
      counts.set('surge', (counts.get('surge') ?? 0) + 1);
      network.setDemand(demand);
      options.surging();
      alone();
    });
  };

  return {
    schedule: (untilMs) => {
      const plan = random.fraction();
      if (plan < 0.2) {
        alone();
        return;
      }
      if (plan < 0.35) {
        surge();
        return;
      }
      const episodes = 1 + Math.floor(random.fraction() * 6);
      for (let index = 0; index < episodes; index += 1) {
        const atMs = random.fraction() * untilMs * 0.8;
        episode(pick(KINDS), atMs, 1000 + random.fraction() * (untilMs - atMs - 1000));
      }
    },
    heal: () => {
      for (const cancel of cancels) cancel();
      network.heal();
      for (const vantage of vantages) {
        vantage.lie(undefined);
        vantage.skewWallClock(0);
        revive(vantage);
      }
      trace.note('fault', 'healed');
    },
    figures: () => Object.fromEntries([...counts].map(([kind, count]) => [`fault ${kind}`, count])),
  };
}
