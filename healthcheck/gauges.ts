/**
 * Gauges of what this vantage believes and hears at the moment it is scraped: who says what of whom, how old that
 * is, how often it changed, and where vantages disagree.
 */
import type { Clock } from '../system/clock.ts';
import type { Metrics } from '../system/metrics.ts';
import type { Verdict } from './core/detector.ts';
import { ballotsOn } from './core/quorum.ts';
import { keyOf, targetsOf } from './core/target.ts';
import { freshVotes, type Vote } from './core/vote.ts';
import type { Judgement, JudgementState } from './judgement.ts';

const AS_NUMBER: Readonly<Record<Verdict, number>> = { up: 1, unknown: 0, down: -1 };

/** Registers the gauges that read the judgement; they are empty while there is none. */
export function registerGauges(metrics: Metrics, current: () => Judgement | undefined, clock: Clock): void {
  const state = (): JudgementState | undefined => current()?.state();
  const votes = (): readonly Vote[] => {
    const judgement = current();
    if (judgement === undefined) return [];
    const { book, manifest } = judgement.state();
    const heard = freshVotes(book, clock.monotonicMs(), manifest).map(({ vote }) => vote);
    return [...heard, { ...judgement.stance(), bootEpoch: 0, sequence: 0 }];
  };
  metrics.grid(
    'verdict',
    'What a vantage says of a target: 1 up, 0 unknown, -1 down',
    ['target', 'vantage'],
    () =>
      votes().flatMap((vote) =>
        vote.verdicts.map((one) => [keyOf(one), vote.vantage, AS_NUMBER[one.verdict]] as const),
      ),
  );
  metrics.grid('verdict_flips', 'Changes of verdict seen since the start', ['target', 'vantage'], () =>
    [...(state()?.flips ?? [])].map(([key, { count }]) => {
      const [target = '', vantage = ''] = key.split(' ');
      return [target, vantage, count] as const;
    }),
  );
  metrics.gauge('vote_age_seconds', 'Age of the newest vote of each other vantage', 'vantage', () => {
    const nowMs = clock.monotonicMs();
    return new Map(
      [...(state()?.book ?? [])].map(([name, { arrivedMs }]) => [name, (nowMs - arrivedMs) / 1000]),
    );
  });
  metrics.gauge('health', 'What the quorum says of a target: 1 up, 0 unknown, -1 down', 'target', () => {
    return new Map([...(state()?.healths ?? [])].map(([key, health]) => [key, AS_NUMBER[health]]));
  });
  metrics.gauge(
    'strained',
    '1 where a target serves and is at its limit, as the quorum sees it',
    'target',
    () => {
      const now = state();
      const targets = now === undefined ? [] : targetsOf(now.manifest).map(keyOf);
      return new Map(targets.map((key) => [key, now?.strained.has(key) === true ? 1 : 0]));
    },
  );
  metrics.gauge('disagreement', '1 where vantages that count say up and down of one target', 'target', () => {
    const manifest = state()?.manifest;
    if (manifest === undefined) return new Map();
    const now = votes();
    return new Map(
      targetsOf(manifest).map((target) => {
        const said = ballotsOn(target, now, manifest).map(({ verdict }) => verdict);
        return [keyOf(target), said.includes('up') && said.includes('down') ? 1 : 0];
      }),
    );
  });
}
