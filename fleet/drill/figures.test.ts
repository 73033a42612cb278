/** The judge: each bound turns the result red when it is missed, and nothing is proved by a run that proves nothing. */
import { describe, expect, test } from 'vitest';
import { departuresSince } from './answer-figures.ts';
import { ACCEPTED_DURING_FAULT_MIN } from './bounds.ts';
import type { Evidence } from './evidence.ts';
import { faultNamed } from './faults/catalogue.ts';
import type { Figure } from './figure.ts';
import { assess } from './figures.ts';
import { journal } from './journal.ts';
import type { LedgerEntry } from './ledger.ts';
import type { AnswerChange } from './nameserver-watch.ts';
import { digestOf, makePayload } from './payload.ts';
import { formatFigure, formatReport } from './report.ts';

const RUN = { runId: 'run-1', payloadBytes: 200 };
const BEGAN_MS = 100_000;
const PROVED_MS = 100_100;
const END_MS = 120_000;

function message(
  client: string,
  at: number,
  kind: 'accepted' | 'refused',
  tookMs = 10,
): readonly LedgerEntry[] {
  const id = `${client}/${at}`;
  const claim = { id, to: 'ada' };
  const sent: readonly LedgerEntry[] = [
    { kind: 'attempt', id, client, to: 'ada', intendedMs: at, startMs: at },
    { kind, id, endMs: at + tookMs, detail: kind === 'refused' ? 'unreachable' : '' },
  ];
  if (kind === 'refused') return sent;
  const digest = digestOf(makePayload(RUN.runId, claim, RUN.payloadBytes));
  return [...sent, { kind: 'delivered', mailbox: 'ada', claim, digest, atMs: at + tookMs + 5 }];
}

function traffic(client: string, downForMs: number): readonly LedgerEntry[] {
  const entries: LedgerEntry[] = [];
  for (let at = 95_000; at < 125_000; at += 200) {
    const down = at >= BEGAN_MS && at < BEGAN_MS + downForMs;
    entries.push(...message(client, at, down ? 'refused' : 'accepted'));
  }
  return entries;
}

function answer(nameserver: string, atMs: number, sites: readonly string[], empty = false): AnswerChange {
  return { nameserver, atMs, sites, empty };
}

const GOOD: Evidence = {
  ...RUN,
  expects: faultNamed('kill').expects,
  isControl: false,
  site: 'aws',
  sites: ['aws', 'gcp', 'hetzner'],
  window: { beganMs: BEGAN_MS, endMs: END_MS },
  provedMs: PROVED_MS,
  vantageEvents: [
    { kind: 'verdict', atMs: 103_000, vantage: 'gcp', site: 'aws', value: 'down' },
    { kind: 'health', atMs: 105_000, vantage: 'gcp', site: 'aws', value: 'down' },
  ],
  answers: [answer('gcp', 105_100, ['gcp', 'hetzner']), answer('hetzner', 105_200, ['gcp', 'hetzner'])],
  ledgers: { dns: traffic('d1', 6000), failover: traffic('f1', 0), late: [], load: [] },
  recovery: { twoCopiesMs: 102_000, readyMs: 123_000, inEveryAnswerMs: 140_000, threeCopiesMs: 126_000 },
  recipientsConnected: true,
  lateReadersFinished: true,
};

/** The vantages of GOOD, one of whose events of `kind` comes `afterMs` after the proof. */
function late(kind: 'verdict' | 'health', afterMs: number): Evidence['vantageEvents'] {
  return GOOD.vantageEvents.map((event) =>
    event.kind === kind ? { ...event, atMs: PROVED_MS + afterMs } : event,
  );
}

function refusals(fromMs: number, count: number): readonly LedgerEntry[] {
  return Array.from({ length: count }, (_, index) => message('d2', fromMs + index, 'refused')).flat();
}

function figure(evidence: Evidence, name: string): Figure | undefined {
  return assess(evidence).figures.find((each) => each.name === name);
}

function five(client: string): readonly LedgerEntry[] {
  return [1, 2, 3, 4, 5].flatMap((step) => message(client, 105_000 + step, 'accepted'));
}

/** The result of the good run with more sends by clients with failover. */
function resultWith(more: readonly LedgerEntry[]): string {
  const failover = [...GOOD.ledgers.failover, ...more];
  return assess({ ...GOOD, ledgers: { ...GOOD.ledgers, failover } }).result;
}

function words(line: string): string {
  return line.replaceAll(/\s+/g, ' ').trim();
}

describe('the result', () => {
  test('is "met" when every figure is within its bound', () => {
    expect(assess(GOOD)).toMatchObject({ result: 'met', reasons: [] });
  });

  test('is "missed" when an accepted message was lost', () => {
    const dns = GOOD.ledgers.dns.filter(
      (entry) => !(entry.kind === 'delivered' && entry.claim?.id === 'd1/110000'),
    );
    const seen = assess({ ...GOOD, ledgers: { ...GOOD.ledgers, dns } });
    expect(seen).toMatchObject({ result: 'missed', findings: { lost: ['d1/110000'] } });
  });

  test('tells how long a site that may leave and need not took to leave, and judges nothing by it', () => {
    const flapping = { ...GOOD, expects: faultNamed('flap').expects };
    expect(figure(flapping, 'changed answer at ns-gcp')).toMatchObject({ value: 5, max: undefined });
    const stayed = { ...flapping, answers: [], vantageEvents: [] };
    expect(figure(stayed, 'quorum says down')).toMatchObject({ value: undefined, passed: true });
    const apart = { ...stayed, expects: faultNamed('partial').expects };
    expect(figure(apart, 'quorum says down')).toBeUndefined();
  });

  test('is "missed" when a surviving nameserver never changes its answer', () => {
    expect(assess({ ...GOOD, answers: GOOD.answers.slice(0, 1) }).reasons).toEqual([
      'detection: changed answer at ns-hetzner is outside its bound.',
    ]);
  });

  test('is "missed" when an answer changes too late', () => {
    const answers = [...GOOD.answers.slice(0, 1), answer('hetzner', 108_101, ['gcp'])];
    expect(assess({ ...GOOD, answers }).result).toBe('missed');
  });

  test('is "missed" when a DNS-only client is away for too long, or does not come back', () => {
    for (const downForMs of [15_200, 30_000]) {
      const ledgers = { ...GOOD.ledgers, dns: traffic('d1', downForMs) };
      expect(assess({ ...GOOD, ledgers }).result).toBe('missed');
    }
  });

  test('is "missed" when sends of clients with failover take too long', () => {
    const slow = message('f1', 110_001, 'accepted', 1001);
    const many = Array.from({ length: 3 }, (_, index) =>
      message('f1', 110_010 + index, 'accepted', 2000),
    ).flat();
    expect(resultWith(slow)).toBe('met');
    expect(resultWith([...slow, ...many])).toBe('missed');
  });

  test('is "missed" when the copies did not come back', () => {
    const recovery = { ...GOOD.recovery, twoCopiesMs: undefined };
    expect(assess({ ...GOOD, recovery }).result).toBe('missed');
  });

  test('is "unknown" when the fault was not proved', () => {
    expect(assess({ ...GOOD, provedMs: undefined }).result).toBe('unknown');
  });

  test.each([{ recipientsConnected: false }, { lateReadersFinished: false }])(
    'is "unknown" when a message is missing and somebody had not read to the end: %j',
    (unread) => {
      const dns = GOOD.ledgers.dns.filter(
        (entry) => entry.kind !== 'delivered' || entry.claim?.id !== 'd1/110000',
      );
      const evidence = { ...GOOD, ...unread, ledgers: { ...GOOD.ledgers, dns } };
      expect(assess(evidence).result).toBe('unknown');
      expect(figure(evidence, 'accepted but lost, or not yet read')?.value).toBe(1);
    },
  );

  test('is "unknown" when too little was accepted during the fault', () => {
    const dns = [...message('d1', 101_000, 'refused'), ...five('d1')];
    const seen = assess({ ...GOOD, ledgers: { dns, failover: five('f1'), late: [], load: [] } });
    expect(seen.result).toBe('unknown');
    expect(seen.reasons).toEqual([
      `The run proves nothing: accepted during the fault 10, and ${ACCEPTED_DURING_FAULT_MIN} are needed.`,
    ]);
  });

  test('is "unknown" when no DNS-only client noticed anything', () => {
    const ledgers = { ...GOOD.ledgers, dns: traffic('d1', 0) };
    expect(assess({ ...GOOD, ledgers }).result).toBe('unknown');
  });

  test('is "unknown" when there is nothing to plant a fault in, whatever else is wrong', () => {
    const seen = assess({ ...GOOD, ledgers: { dns: [], failover: [], late: [], load: [] } });
    expect(seen.result).toBe('unknown');
    expect(seen.blindFor).toHaveLength(5);
  });
});

describe('every figure that judges has a bound', () => {
  /** Counts that stand beside a bounded figure and say how large the sample was. */
  const SAMPLES = /sends$|: without service$|^accepted$|^delivered$|^repetitions|^unknown to|^of these|^ {2}/;

  test.each([
    ['kill', GOOD],
    ['none', { ...GOOD, expects: faultNamed('none').expects, isControl: true }],
  ])('in a run with fault %s', (_, evidence) => {
    const free = assess(evidence).figures.filter(({ max, min }) => max === undefined && min === undefined);
    expect(free.map(({ name }) => name).filter((name) => !SAMPLES.test(name))).toEqual([]);
    expect(free.filter(({ unit }) => unit === 's')).toEqual([]);
  });

  test.each([
    ['first vantage says down', { vantageEvents: late('verdict', 7001) }],
    ['quorum says down', { vantageEvents: late('health', 8001) }],
    [
      'two copies of everything again, after the fault',
      { recovery: { ...GOOD.recovery, twoCopiesMs: PROVED_MS + 5001 } },
    ],
    ['every site ready, after its end', { recovery: { ...GOOD.recovery, readyMs: END_MS + 20_001 } }],
    [
      'three copies of everything, after its end',
      { recovery: { ...GOOD.recovery, threeCopiesMs: END_MS + 30_001 } },
    ],
    [
      'in every answer again, after its end',
      { recovery: { ...GOOD.recovery, inEveryAnswerMs: END_MS + 45_001 } },
    ],
    ['DNS-only, send: p50', { ledgers: { ...GOOD.ledgers, dns: traffic('d1', 13_200) } }],
    [
      'DNS-only, during the fault: not accepted',
      { ledgers: { ...GOOD.ledgers, dns: traffic('d1', END_MS - BEGAN_MS) } },
    ],
    [
      'failover, during the fault: not accepted',
      { ledgers: { ...GOOD.ledgers, failover: traffic('f1', 800) } },
    ],
    [
      'all, after its end: not accepted',
      { ledgers: { ...GOOD.ledgers, dns: [...GOOD.ledgers.dns, ...refusals(END_MS + 1, 10)] } },
    ],
  ] as const)('"%s" outside its bound makes the run "missed"', (name, change) => {
    const seen = assess({ ...GOOD, ...change });
    expect(seen.figures.find((each) => each.name === name)?.passed).toBe(false);
    expect(seen.result).toBe('missed');
  });
});

describe('the control run', () => {
  const control: Evidence = {
    ...GOOD,
    expects: faultNamed('none').expects,
    isControl: true,
    vantageEvents: [],
    answers: [],
    ledgers: { dns: traffic('d1', 0), failover: traffic('f1', 0), late: [], load: [] },
  };

  test('is met when nothing happens', () => {
    expect(assess(control)).toMatchObject({ result: 'met', reasons: [] });
  });

  test('is missed when an answer changes', () => {
    expect(assess({ ...control, answers: GOOD.answers }).result).toBe('missed');
  });

  test('is missed when a client loses service', () => {
    const ledgers = { ...control.ledgers, dns: traffic('d1', 500) };
    expect(assess({ ...control, ledgers }).result).toBe('missed');
  });
});

describe('a fault during which some may be without service until it is over', () => {
  const passing: Evidence = {
    ...GOOD,
    expects: faultNamed('wipe').expects,
    answers: [],
    ledgers: { ...GOOD.ledgers, dns: traffic('d1', END_MS - BEGAN_MS + 1000) },
  };

  test('is met when all are back soon after it', () => {
    expect(assess(passing)).toMatchObject({ result: 'met', reasons: [] });
    expect(figure(passing, 'DNS-only, last one back after its end')?.value).toBeCloseTo(1.01);
  });

  test('is missed when somebody is not', () => {
    const ledgers = { ...GOOD.ledgers, dns: traffic('d1', 60_000) };
    expect(assess({ ...passing, ledgers }).result).toBe('missed');
  });
});

describe('answers', () => {
  const all = ['aws', 'gcp', 'hetzner'];

  test('that leave out a site for which there is no reason make the run "missed"', () => {
    const answers = [...GOOD.answers, answer('gcp', 110_000, ['gcp'])];
    expect(figure({ ...GOOD, answers }, 'false withdrawals')?.value).toBe(1);
    expect(assess({ ...GOOD, answers }).result).toBe('missed');
  });

  test('without an address make the run "missed", silence does not', () => {
    const results = [false, true].map(
      (empty) => assess({ ...GOOD, answers: [...GOOD.answers, answer('aws', 110_000, [], empty)] }).result,
    );
    expect(results).toEqual(['met', 'missed']);
  });

  test('that a site leaves twice make the run "missed": it flaps', () => {
    const answers = [
      ...GOOD.answers,
      answer('gcp', 110_000, all),
      answer('gcp', 112_000, ['gcp', 'hetzner']),
    ];
    expect(assess({ ...GOOD, answers: [answer('gcp', 90_000, all), ...answers] }).reasons).toEqual([
      'detection: one site left one answer is outside its bound.',
    ]);
  });

  test('are compared across a silence', () => {
    const seen = [answer('gcp', 1, all), answer('gcp', 2, []), answer('gcp', 3, ['gcp', 'hetzner'])];
    expect(departuresSince(seen, 0)).toEqual([{ nameserver: 'gcp', site: 'aws', atMs: 3 }]);
    expect(departuresSince(seen, 4)).toEqual([]);
  });

  test.each([
    ['in time', [answer('unbound', 99_000, all), answer('unbound', 113_000, ['gcp'])], 12.9, 'met'],
    ['too late', [answer('unbound', 99_000, all), answer('unbound', 113_200, ['gcp'])], 13.1, 'missed'],
    ['never', [answer('unbound', 99_000, all)], Number.POSITIVE_INFINITY, 'missed'],
  ])('of a resolver that obeys TTLs change %s', (_, own, seconds, result) => {
    const evidence = { ...GOOD, answers: [...GOOD.answers, ...own] };
    expect(figure(evidence, 'last stale answer of unbound')?.value).toBeCloseTo(seconds);
    expect(assess(evidence).result).toBe(result);
  });
});

describe('figures', () => {
  test('count from the proof of the fault', () => {
    expect(figure(GOOD, 'quorum says down')?.value).toBeCloseTo(4.9);
    expect(figure(GOOD, 'changed answer at ns-gcp')?.value).toBeCloseTo(5);
  });

  test('count an outage from the intended start of the first failure', () => {
    expect(figure(GOOD, 'DNS-only, send: last')?.value).toBeCloseTo(6.01);
  });

  test('are written with value, bound and mark', () => {
    const base = { group: 'clients', name: 'x', unit: 's', min: undefined } as const;
    expect(words(formatFigure({ ...base, value: 0.3, max: 1, passed: true }))).toBe('x 300 ms ≤ 1.0 s pass');
    expect(words(formatFigure({ ...base, value: Number.POSITIVE_INFINITY, max: 15, passed: false }))).toBe(
      'x never ≤ 15.0 s FAIL',
    );
    expect(words(formatFigure({ ...base, value: undefined, max: undefined, passed: true }))).toBe('x –');
    const enough = { ...base, unit: 'messages', min: 100, max: undefined } as const;
    expect(words(formatFigure({ ...enough, value: 7, passed: false }))).toBe(
      'x 7 messages ≥ 100 messages FAIL',
    );
  });
});

describe('the report', () => {
  const head = {
    site: 'aws',
    fault: 'kill',
    store: 'redis',
    ratePerSecond: 60,
    faultSeconds: 20,
    tookSeconds: 63,
    runId: 'run-1',
    seed: 1,
    host: {
      cores: 2,
      processor: 'p',
      memoryBytes: 2 ** 33,
      kernel: 'linux 6',
      loadBefore: 0.5,
      node: '26',
      redis: '7',
      fsyncP50Ms: 1,
      fsyncP99Ms: 2,
      commit: undefined,
    },
  } as const;

  test('ends with the result and says what no loss proves', () => {
    const report = formatReport(head, assess(GOOD), 'met');
    expect(report).toMatch(/RESULT: met$/);
    expect(report).toContain('with 95 % confidence fewer than 1 in');
    expect(report).not.toContain('FAIL');
  });

  test('gives the reason beside every failure', () => {
    const report = formatReport(head, assess({ ...GOOD, answers: [] }), 'missed');
    expect(report).toContain('detection: changed answer at ns-gcp is outside its bound.');
    expect(report).toContain('FAIL');
  });

  test('as JSON says "never" where a number has no end', () => {
    const evidence = { ...GOOD, ledgers: { ...GOOD.ledgers, dns: traffic('d1', 30_000) } };
    const text = journal({ result: 'missed', trouble: '', head, assessment: assess(evidence), evidence });
    const figures = (JSON.parse(text) as { figures: { name: string; value: unknown }[] }).figures;
    expect(figures.find(({ name }) => name === 'DNS-only, send: last')?.value).toBe('never');
  });
});
