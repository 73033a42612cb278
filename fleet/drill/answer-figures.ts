/**
 * Figures of detection: when the failure was noticed, believed and acted upon, and that nothing else was acted upon.
 */
import { BOUNDS } from './bounds.ts';
import { type Evidence, zeroOf } from './evidence.ts';
import { atMost, type Figure, secondsSince, told } from './figure.ts';
import type { AnswerChange } from './nameserver-watch.ts';
import { UNBOUND } from './unbound.ts';

/** A site was in one answer of a nameserver and not in its next one. */
export interface Departure {
  readonly nameserver: string;
  readonly site: string;
  readonly atMs: number;
}

/** Every departure from `fromMs` on. A nameserver that was silent meanwhile is compared with what it said before. */
export function departuresSince(answers: readonly AnswerChange[], fromMs: number): readonly Departure[] {
  const before = new Map<string, readonly string[]>();
  return answers.flatMap(({ nameserver, sites, atMs }) => {
    if (sites.length === 0) return [];
    const gone = (before.get(nameserver) ?? []).filter((site) => !sites.includes(site));
    before.set(nameserver, sites);
    return atMs < fromMs ? [] : gone.map((site) => ({ nameserver, site, atMs }));
  });
}

/** The figures of the group `detection`. */
export function answerFigures(evidence: Evidence): readonly Figure[] {
  const { expects, site, window } = evidence;
  const answers = evidence.answers.filter(({ nameserver }) => nameserver !== UNBOUND);
  const departures = departuresSince(answers, window.beganMs);
  const mayLeave = (name: string): boolean =>
    expects.mayLeave === 'anybody' || (expects.mayLeave === 'the site' && name === site);
  const wrong = departures.filter((departure) => !mayLeave(departure.site));
  const empty = answers.filter((change) => change.atMs >= window.beganMs && change.empty);
  const seen = answers.filter(({ atMs }) => atMs >= window.beganMs && atMs < window.endMs);
  return [
    ...withdrawalFigures(evidence),
    atMost('detection', 'false withdrawals', wrong.length, 'changes', 0),
    atMost('detection', 'empty answers', empty.length, 'changes', 0),
    ...(expects.mayLeave === 'nobody'
      ? []
      : [atMost('detection', 'one site left one answer', mostRepeated(departures), 'changes', 1)]),
    ...(evidence.isControl ? [atMost('detection', 'changes of an answer', seen.length, 'changes', 0)] : []),
  ];
}

/** How often the site left the answer that it left most often. */
function mostRepeated(departures: readonly Departure[]): number {
  const times = new Map<string, number>();
  for (const { nameserver, site } of departures) {
    const key = `${nameserver} ${site}`;
    times.set(key, (times.get(key) ?? 0) + 1);
  }
  return Math.max(0, ...times.values());
}

function withdrawalFigures(evidence: Evidence): readonly Figure[] {
  const { answers, expects, site, sites, vantageEvents, window } = evidence;
  if (expects.mayLeave === 'nobody') return [];
  // A site that may leave and need not: how long it took is told, and nobody is judged by it.
  const judge: typeof atMost = expects.withdrawnAt === 'nowhere' ? told : atMost;
  const zeroMs = zeroOf(evidence);
  const firstDown = (kind: 'verdict' | 'health'): number | undefined => {
    const event = vantageEvents.find(
      (seen) =>
        seen.kind === kind && seen.site === site && seen.value === 'down' && seen.atMs >= window.beganMs,
    );
    return secondsSince(zeroMs, event?.atMs);
  };
  const nameservers = sites.filter((name) => expects.withdrawnAt === 'all' || name !== site);
  return [
    judge('detection', 'first vantage says down', firstDown('verdict'), 's', BOUNDS.firstDownS),
    judge('detection', 'quorum says down', firstDown('health'), 's', BOUNDS.quorumS),
    ...nameservers.map((nameserver) => {
      const changed = answers.find(
        (change) =>
          change.nameserver === nameserver &&
          change.atMs >= window.beganMs &&
          change.sites.length > 0 &&
          !change.sites.includes(site),
      );
      const changedS = secondsSince(zeroMs, changed?.atMs);
      return judge('detection', `changed answer at ns-${nameserver}`, changedS, 's', BOUNDS.answerS);
    }),
    ...resolverFigures(evidence, zeroMs),
  ];
}

/** The last stale answer of unbound; judged where every nameserver that it can reach knows better. */
function resolverFigures({ answers, expects, site, window }: Evidence, zeroMs: number): readonly Figure[] {
  const own = answers.filter(({ nameserver, atMs }) => nameserver === UNBOUND && atMs < window.endMs);
  if (own.length === 0) return [];
  const lastStale = own.findLastIndex((change) => change.sites.includes(site));
  const end = lastStale === own.length - 1 ? Number.POSITIVE_INFINITY : own[lastStale + 1]?.atMs;
  const staleS = lastStale < 0 ? 0 : secondsSince(zeroMs, end);
  const name = 'last stale answer of unbound';
  return expects.service === 'restored during it'
    ? [atMost('detection', name, staleS, 's', BOUNDS.resolverS)]
    : [told('detection', name, staleS, 's')];
}
