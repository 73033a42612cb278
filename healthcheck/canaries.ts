/**
 * Message canaries at their own, lower rate: one round of pairs in each `canaryIntervalMs`, and what they say of each
 * target. Probing asks for that whenever a target says that it is ready.
 */
import type { SecureContext } from 'node:tls';
import type { Manifest } from '../fleet/manifest/manifest.ts';
import type { Clock } from '../system/clock.ts';
import type { Random } from '../system/random.ts';
import { createMessageCanary } from './adapters/message-canary.ts';
import { everyPeriod } from './adapters/schedule.ts';
import {
  type CanaryBook,
  type CanaryPair,
  failsByCanary,
  NEW_CANARY_BOOK,
  noteCanary,
  pairsOf,
} from './core/canary.ts';
import { keyOf, type Target, type TargetKey } from './core/target.ts';
import type { Events } from './events.ts';

export interface CanariesOptions {
  readonly manifest: Manifest;
  /** The targets that this vantage can reach; others are no partners. */
  readonly targets: readonly Target[];
  /** Whether the newest probe of a target found it ready. */
  readonly isReady: (target: Target) => boolean;
  readonly trust: SecureContext;
  readonly operatorToken: string | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly events: Pick<Events, 'canaryEnded' | 'canaryVerdict'>;
}

export interface Canaries {
  /** Whether messages do not get through this target. */
  fails(target: Target): boolean;
  stop(): void;
}

/** Sends canaries until it is stopped; with `canaryIntervalMs` 0 none, and then no target ever fails. */
export function startCanaries(options: CanariesOptions): Canaries {
  const { manifest, targets, isReady, clock, random, events } = options;
  const policy = manifest.health;
  const send = createMessageCanary(options);
  let book: CanaryBook = NEW_CANARY_BOOK;
  let round = 0;
  const told = new Set<TargetKey>();
  const run = async (pair: CanaryPair): Promise<void> => {
    const startedMs = clock.monotonicMs();
    const outcome = await send(pair);
    const nowMs = clock.monotonicMs();
    events.canaryEnded(pair, outcome, (nowMs - startedMs) / 1000);
    const bothReady = isReady(pair.store) && isReady(pair.fetch);
    book = noteCanary(book, pair, outcome, { bothReady, nowMs, policy });
  };
  const stop =
    policy.canaryIntervalMs === 0
      ? () => undefined
      : everyPeriod(
          policy.canaryIntervalMs,
          () => {
            for (const pair of pairsOf(targets, round)) void run(pair);
            round += 1;
          },
          { clock, random },
        );
  return {
    fails: (target) => {
      const fails = failsByCanary(target, book, { targets, nowMs: clock.monotonicMs(), policy });
      if (fails !== told.has(keyOf(target))) {
        if (fails) told.add(keyOf(target));
        else told.delete(keyOf(target));
        events.canaryVerdict(target, fails);
      }
      return fails;
    },
    stop,
  };
}
