/**
 * What the gauges of a vantage show when they are scraped; events move them.
 */
import type { Clock } from '../system/clock.ts';
import type { Metrics } from '../system/metrics.ts';
import { DECISION_LOG_FAULTS, type DecisionLogFault } from './adapters/decision-file.ts';

/** Trouble with what a vantage keeps on disk. */
export type StateFault = 'unreadable' | 'unwritable' | DecisionLogFault;
export const STATE_FAULTS: readonly StateFault[] = ['unreadable', 'unwritable', ...DECISION_LOG_FAULTS];

export const COLD_STARTS = ['persisted', 'votes', 'all_sites'] as const;
/** What the first answer after a start rests on. */
export type ColdStart = (typeof COLD_STARTS)[number];

/** When signatures end, seconds since 1970. */
export interface SignatureEnds {
  readonly keysExpireSeconds: number;
  readonly recordsExpireSeconds: number;
}

/** The same by kind, as logs and metrics name them. */
export function signaturesOf(ends: SignatureEnds): ReadonlyMap<'zone_keys' | 'records', number> {
  return new Map([
    ['zone_keys', ends.keysExpireSeconds],
    ['records', ends.recordsExpireSeconds],
  ]);
}

/** What the gauges show when they are scraped. */
export interface Present {
  readonly isolated: Stopwatch;
  readonly failOpen: Stopwatch;
  readonly frozen: Stopwatch;
  waiting: boolean;
  manifestVersion: number;
  generation: number;
  ttlSeconds: number;
  sites: number;
  dnsThreads: number;
  /** Undefined while the zone is not signed. */
  signatures: SignatureEnds | undefined;
  /** When each target was last observed, monotonic milliseconds. */
  readonly observedMs: Map<string, number>;
  /** Whether messages get through each target, once it was ever in doubt. */
  readonly canaryFails: Map<string, boolean>;
}

/** All gauges. A vantage that has just started has heard nobody, so it counts as isolated. */
export function createGauges(metrics: Metrics, clock: Clock): Present {
  const present: Present = {
    isolated: createStopwatch(clock, true),
    failOpen: createStopwatch(clock, false),
    frozen: createStopwatch(clock, false),
    waiting: true,
    manifestVersion: 0,
    generation: 0,
    ttlSeconds: 0,
    sites: 0,
    dnsThreads: 0,
    signatures: undefined,
    observedMs: new Map(),
    canaryFails: new Map(),
  };
  const flag = (name: string, help: string, watch: Stopwatch): void => {
    metrics.value(name, help, () => (watch.isOn() ? 1 : 0));
    metrics.value(`${name}_seconds`, `Seconds since the start for which ${name} was 1`, () =>
      watch.seconds(),
    );
  };
  flag('isolated', '1 while no other provider is heard: the answer stands still', present.isolated);
  flag('fail_open', '1 while every target of a family is down and all are served', present.failOpen);
  flag('frozen', '1 while operators have frozen all automation', present.frozen);
  metrics.value('waiting', '1 while there is no manifest that has this vantage', () =>
    present.waiting ? 1 : 0,
  );
  metrics.value('manifest_version', 'Version of the manifest in force', () => present.manifestVersion);
  metrics.value('answer_generation', 'Generation of the answer in force', () => present.generation);
  metrics.value('answer_ttl_seconds', 'TTL of the answer in force', () => present.ttlSeconds);
  metrics.value('answer_sites', 'Sites in the answer in force', () => present.sites);
  metrics.value(
    'dns_threads',
    'Threads that answer over UDP; 0: the main thread does',
    () => present.dnsThreads,
  );
  metrics.gauge('signature_seconds_left', 'Until the first signature ends, of each kind', 'of', () => {
    const nowSeconds = clock.wallMs() / 1000;
    const ends = present.signatures === undefined ? [] : [...signaturesOf(present.signatures)];
    return new Map(ends.map(([of, endSeconds]) => [of, Math.floor(endSeconds - nowSeconds)]));
  });
  metrics.gauge(
    'observation_age_seconds',
    'Age of the newest observation of each target, or of its probing',
    'target',
    () => {
      const nowMs = clock.monotonicMs();
      return new Map([...present.observedMs].map(([key, atMs]) => [key, (nowMs - atMs) / 1000]));
    },
  );
  metrics.gauge(
    'canary_fails',
    '1 where messages do not get through a target that says it is ready; absent where they always did',
    'target',
    () => new Map([...present.canaryFails].map(([key, fails]) => [key, fails ? 1 : 0])),
  );
  return present;
}

interface Stopwatch {
  set(on: boolean): void;
  isOn(): boolean;
  /** All the time that it was on, together. */
  seconds(): number;
}

function createStopwatch(clock: Clock, on: boolean): Stopwatch {
  let sinceMs = on ? clock.monotonicMs() : undefined;
  let totalMs = 0;
  const currentMs = (): number => (sinceMs === undefined ? 0 : clock.monotonicMs() - sinceMs);
  return {
    set: (now) => {
      if (now === (sinceMs !== undefined)) return;
      totalMs += currentMs();
      sinceMs = now ? clock.monotonicMs() : undefined;
    },
    isOn: () => sinceMs !== undefined,
    seconds: () => (totalMs + currentMs()) / 1000,
  };
}
