/**
 * What goes wrong, when and for how long: each run draws the kinds of fault that it knows, and how often they come.
 *
 * Storage is destroyed at one provider only until every relay says that all copies are back, which is what the promise
 * allows; some runs go beyond that on purpose.
 */
import type { Debt } from '../../../relay/ports.ts';
import type { Random } from '../../../system/random.ts';
import type { Checker } from './checker.ts';
import type { Network } from './network.ts';
import type { SimulatedSite } from './site.ts';
import { between, pick, type Stage } from './stage.ts';

const KINDS = [
  'kill',
  'power',
  'wipe',
  'hang',
  'slow',
  'refuse',
  'cut',
  'one way',
  'cut off',
  'skew',
] as const;
type Kind = (typeof KINDS)[number];

export interface FaultsOptions {
  readonly sites: readonly SimulatedSite[];
  readonly network: Network;
  readonly checker: Checker;
  /** Whether more may be destroyed than the promise allows. */
  readonly isBeyond: boolean;
}

/** Brings faults until `untilMs`, then resolves; nothing is mended. */
export async function bringFaults(stage: Stage, options: FaultsOptions, untilMs: number): Promise<void> {
  const { time } = stage;
  const random = stage.random('faults');
  const known = KINDS.filter(() => random.fraction() < 0.5);
  const kinds: readonly Kind[] =
    options.isBeyond || known.length === 0 ? [...known, 'wipe', 'wipe', 'wipe', 'power'] : known;
  const everyMs = between(random, 300, 3000);
  const destruction = watchDestruction(stage, options);
  stage.trace.note('faults', `${kinds.join(', ')}; one about every ${Math.round(everyMs)} ms`);
  while (time.nowMs() < untilMs) {
    await time.sleep(-Math.log(1 - random.fraction()) * everyMs);
    if (time.nowMs() < untilMs) cause(pick(random, kinds), random, stage, options, destruction);
  }
  destruction.stop();
}

interface Destruction {
  /** Whether the storage of this provider may be destroyed now without leaving the promise. */
  isCovered(provider: string): boolean;
  note(provider: string): void;
  stop(): void;
}

const LOOK_EVERY_MS = 100;
/** A relay may need so long to see that its store has lost its memory. */
const SAID_FOR_MS = 2000;
/** What is owed for a shorter time is still under way, milliseconds. */
const YOUNG_MS = 1500;

/** Knows whose storage was destroyed until everybody says that everything is back. */
function watchDestruction(stage: Stage, { sites, checker }: FaultsOptions): Destruction {
  const { time, trace } = stage;
  let destroyed: string | undefined;
  let sinceMs: number | undefined;
  const stopping = new AbortController();
  const watch = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      await time.sleep(LOOK_EVERY_MS);
      const isSaid = destroyed !== undefined && (await isRestored(sites, YOUNG_MS));
      sinceMs = isSaid ? (sinceMs ?? time.nowMs()) : undefined;
      if (sinceMs === undefined || time.nowMs() - sinceMs < SAID_FOR_MS) continue;
      trace.note('faults', `what ${destroyed} lost is back`);
      destroyed = undefined;
      checker.restored();
    }
  };
  void watch();
  return {
    isCovered: (provider) => destroyed === undefined || destroyed === provider,
    note: (provider) => {
      destroyed = provider;
      sinceMs = undefined;
    },
    stop: () => stopping.abort(),
  };
}

/** Whether every site says that it is whole and that it has owed nothing to anybody for longer than `youngMs`. */
export async function isRestored(sites: readonly SimulatedSite[], youngMs: number): Promise<boolean> {
  const names = sites.map(({ name }) => name);
  for (const site of sites) {
    const live = site.live();
    const isWhole = live.length > 0 && live.every(({ relay }) => !relay.replication.isRecovering());
    if (!isWhole || !site.isOn() || !site.disk.isWell()) return false;
    const debts = await site.disk.contents().debts(names.filter((name) => name !== site.name));
    const nowMs = live[0]?.process.clock.wallMs() ?? 0;
    const isYoung = ({ oldestMs = nowMs }: Debt): boolean => Math.abs(nowMs - oldestMs) < youngMs;
    if ([...debts.values()].some((debt) => debt.count > 0 && !isYoung(debt))) return false;
  }
  return true;
}

function cause(
  kind: Kind,
  random: Random,
  stage: Stage,
  { sites, network, checker, isBeyond }: FaultsOptions,
  destruction: Destruction,
): void {
  const { time, trace } = stage;
  const site = pick(random, sites);
  const others = [...sites.map(({ name }) => name), 'senders', 'recipients'].filter(
    (name) => name !== site.name,
  );
  const other = pick(random, others);
  const forMs = between(random, 100, random.fraction() < 0.3 ? 8000 : 1500);
  const say = (what: string): void => trace.note('faults', `${what} for ${Math.round(forMs)} ms`);
  switch (kind) {
    case 'kill':
      stage.count('processes killed');
      say(`the relay of ${site.name} is killed`);
      return site.kill(pick(random, ['one', 'all']), forMs);
    case 'power':
      stage.count('power cuts');
      say(`${site.name} has no power`);
      // Half of them while something is written, which chance alone would hardly ever meet.
      if (random.fraction() < 0.5) return site.cutPower(forMs);
      return site.disk.atNextWrite(() => site.cutPower(forMs));
    case 'wipe': {
      if (!destruction.isCovered(site.provider)) {
        if (!isBeyond) return;
        checker.leavePromise();
      }
      destruction.note(site.provider);
      // A new machine may take its time.
      const goneMs = random.fraction() < 0.3 ? between(random, 20_000, 40_000) : forMs;
      for (const victim of sites) {
        if (victim.provider !== site.provider) continue;
        stage.count('stores wiped');
        trace.note(
          'faults',
          `the storage of ${victim.name} is destroyed; it has none for ${Math.round(goneMs)} ms`,
        );
        victim.wipe(goneMs);
      }
      return;
    }
    case 'hang':
      stage.count('stores hung');
      say(`the store of ${site.name} hangs`);
      site.disk.hang();
      return void time.after(forMs, () => site.disk.mend());
    case 'slow':
      stage.count('stores slow');
      say(`the store of ${site.name} is slow`);
      site.disk.slow(between(random, 20, 600));
      return void time.after(forMs, () => site.disk.mend());
    case 'refuse':
      stage.count('stores refusing');
      say(`the store of ${site.name} refuses`);
      site.disk.refuse();
      return void time.after(forMs, () => site.disk.mend());
    case 'cut':
    case 'one way': {
      stage.count(kind === 'cut' ? 'links cut' : 'links cut one way');
      say(`${site.name} cannot reach ${other}${kind === 'cut' ? ', nor the other way' : ''}`);
      const ways =
        kind === 'cut'
          ? ([
              [site.name, other],
              [other, site.name],
            ] as const)
          : ([[site.name, other]] as const);
      return cutFor(network, ways, forMs, time);
    }
    case 'cut off': {
      stage.count('sites cut off');
      say(`${site.name} reaches nobody`);
      const ways = others.flatMap(
        (name) =>
          [
            [site.name, name],
            [name, site.name],
          ] as const,
      );
      return cutFor(network, ways, forMs, time);
    }
    case 'skew': {
      if (sites.some((each) => each.skewMs() !== 0)) return;
      stage.count('clocks skewed');
      const offsetMs = Math.round(between(random, -1, 1) * pick(random, [5000, 29_000, 600_000]));
      say(`the clock of ${site.name} is off by ${offsetMs} ms`);
      site.skew(offsetMs);
      return void time.after(3 * forMs, () => site.skew(0));
    }
  }
}

function cutFor(
  network: Network,
  ways: readonly (readonly [string, string])[],
  forMs: number,
  time: Stage['time'],
): void {
  for (const [from, to] of ways) time.after(forMs, network.cut(from, to));
}
