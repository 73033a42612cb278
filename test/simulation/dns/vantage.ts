/**
 * One simulated vantage: the production judgement and cold start, probes and posts at production's periods, and a
 * state "file" that is written a little later than the answer that it holds, so that a crash may lose the last one.
 */
import type { Manifest } from '../../../fleet/manifest/manifest.ts';
import { everyPeriod } from '../../../healthcheck/adapters/schedule.ts';
import type { SavedState } from '../../../healthcheck/adapters/state-file.ts';
import { beginningFrom, beginToAnswer, savedFrom } from '../../../healthcheck/cold-start.ts';
import type { Rules } from '../../../healthcheck/core/decision.ts';
import type { Verdict } from '../../../healthcheck/core/detector.ts';
import { targetsOf } from '../../../healthcheck/core/target.ts';
import type { Vote } from '../../../healthcheck/core/vote.ts';
import { createEvents } from '../../../healthcheck/events.ts';
import {
  createJudgement,
  type Judgement,
  type JudgementOptions,
  type Served,
} from '../../../healthcheck/judgement.ts';
import type { Log } from '../../../system/log.ts';
import type { Metrics } from '../../../system/metrics.ts';
import type { Random } from '../../../system/random.ts';
import type { VirtualTime } from '../virtual-time.ts';
import type { DnsNetwork } from './network.ts';

type Change = Parameters<JudgementOptions['decided']>[0];

/** Who looks over the shoulder of every vantage. */
export interface DnsWatch {
  /** Another life: it remembers what was saved and nothing that it heard. */
  started(vantage: SimulatedVantage): void;
  served(vantage: SimulatedVantage, served: Served): void;
  changed(vantage: SimulatedVantage, change: Change): void;
  heard(vantage: SimulatedVantage, vote: Vote): void;
}

export interface SimulatedVantage {
  readonly name: string;
  /** Starts with what the former life saved. */
  start(): void;
  crash(): void;
  isAlive(): boolean;
  /** What it serves; undefined before it begins, and while it is dead. */
  served(): Served | undefined;
  judgement(): Judgement | undefined;
  /** From now on every vote says what `lie` gives, until it gives up lying. */
  lie(lie: (() => Verdict) | undefined): void;
  isLiar(): boolean;
  skewWallClock(ms: number): void;
}

interface SimulatedVantageOptions {
  readonly manifest: Manifest;
  readonly network: DnsNetwork;
  readonly time: VirtualTime;
  readonly random: Random;
  readonly rules: Rules;
  readonly watch: DnsWatch;
  readonly note: (what: string) => void;
}

const SAVED_WITHIN_MS = 200;
const SILENT_LOG: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
const NO_METRICS: Metrics = {
  counter: () => ({ add: nothing }),
  gauge: nothing,
  grid: nothing,
  value: nothing,
  histogram: () => ({ observe: nothing }),
  text: async () => '',
};

function nothing(): void {
  // Logs and metrics are not part of the world.
}

/** Whom each vantage's posts reach; every vantage of a world is in it. */
const inboxes = new WeakMap<DnsNetwork, Map<string, (vote: Vote) => void>>();

export function createSimulatedVantage(name: string, options: SimulatedVantageOptions): SimulatedVantage {
  const { manifest, network, time, random, rules, watch, note } = options;
  const inbox = inboxes.get(network) ?? new Map<string, (vote: Vote) => void>();
  inboxes.set(network, inbox);
  let life = 0;
  let skewMs = 0;
  let saved: SavedState | undefined;
  let served: Served | undefined;
  let judgement: Judgement | undefined;
  let lie: (() => Verdict) | undefined;
  let everLied = false;
  let stopped = new AbortController();

  const start = (): void => {
    life += 1;
    watch.started(self);
    const ownLife = life;
    stopped = new AbortController();
    const isThisLife = (): boolean => life === ownLife && !stopped.signal.aborted;
    const clock = time.clockOf({ offsetMs: () => skewMs, isAlive: isThisLife });
    const beginning = beginningFrom(saved, manifest, clock);
    saved = beginning.toSave;
    let sequence = 0;
    const save = (next: SavedState): void => {
      clock.after(random.fraction() * SAVED_WITHIN_MS, () => {
        saved = next;
      });
    };
    const publish = (): void => {
      const stance = current.stance();
      sequence += 1;
      const says = lie;
      const verdicts =
        says === undefined
          ? stance.verdicts
          : stance.verdicts.map((verdict) => ({ ...verdict, verdict: says(), observationsToChange: 1 }));
      const isolated = says === undefined && stance.isolated;
      const vote: Vote = { ...stance, isolated, verdicts, bootEpoch: beginning.bootEpoch, sequence };
      for (const [to, deliver] of inbox) if (to !== name) network.post(name, to, () => deliver(vote));
    };
    const current = createJudgement({
      manifest,
      self: name,
      rules,
      clock,
      events: createEvents(SILENT_LOG, NO_METRICS, clock),
      serve: (next) => {
        const isNew = next.answer !== served?.answer;
        served = next;
        watch.served(self, next);
        if (isNew) save(savedFrom(next.answer, beginning.bootEpoch, clock));
      },
      stanceChanged: () => publish(),
      decided: (change) => {
        note(`${change.reason} ${change.answer.generation}: ${change.answer.targets.join(' ')}`);
        watch.changed(self, change);
      },
    });
    judgement = current;
    inbox.set(name, (vote) => {
      if (!isThisLife()) return;
      watch.heard(self, vote);
      current.receive(vote, '');
    });
    const { probeIntervalMs } = manifest.health;
    const periods = { clock, random };
    for (const target of targetsOf(manifest)) {
      everyPeriod(
        probeIntervalMs,
        () => {
          const { ready, afterMs, strainedAfterMs } = network.probe(name, target);
          clock.after(afterMs, () => current.observe(target, ready));
          if (strainedAfterMs !== undefined) clock.after(strainedAfterMs, () => current.seenStrained(target));
        },
        periods,
      );
    }
    everyPeriod(probeIntervalMs / 2, publish, periods);
    everyPeriod(
      probeIntervalMs / 4,
      () => {
        current.reachesOutside(network.reachesOutside(name));
        current.evaluate();
      },
      periods,
    );
    const context = { manifest, self: name, clock, stopped: stopped.signal };
    // A life that is cut short while it waits for votes never begins.
    void beginToAnswer(current, beginning, context).catch(() => undefined);
  };

  const self: SimulatedVantage = {
    name,
    start,
    crash: () => {
      stopped.abort(new Error('crashed'));
      served = undefined;
      judgement = undefined;
      inbox.delete(name);
    },
    isAlive: () => judgement !== undefined,
    served: () => served,
    judgement: () => judgement,
    lie: (next) => {
      lie = next;
      everLied ||= next !== undefined;
    },
    isLiar: () => everLied,
    skewWallClock: (ms) => {
      skewMs = ms;
    },
  };
  return self;
}
