/**
 * Figures of the clients: how long they were without service, how long sends took, and how many failed.
 *
 * What is asked of them follows from what the fault promises: nobody notices it, everybody is served again while it
 * lasts, or everybody is served again when it is over.
 */
import { BOUNDS, later, type OutageBounds, SILENCE_S } from './bounds.ts';
import { type Evidence, zeroOf } from './evidence.ts';
import { atMost, type Figure, secondsSince, told } from './figure.ts';
import {
  type Operation,
  type Outage,
  operationsOf,
  percentile,
  receiveOutages,
  sendLatencyMs,
  sendOutages,
} from './outages.ts';

/** The sends that the fault can have touched. */
export interface During {
  readonly dns: readonly Operation[];
  readonly failover: readonly Operation[];
}

/** The figures of the group `clients`. */
export function clientFigures(evidence: Evidence, during: During): readonly Figure[] {
  const { expects, ledgers, window } = evidence;
  const failover = failoverFigures(evidence, during);
  if (expects.service === 'unaffected') {
    const outages = [
      ...sendOutages(during.dns),
      ...receiveOutages(ledgers.dns, window),
      ...sendOutages(during.failover),
      ...receiveOutages(ledgers.failover, window),
    ];
    return [atMost('clients', 're-routed', outages.length, 'clients', 0), ...failover];
  }
  const silenceS = expects.silent ? SILENCE_S : 0;
  if (expects.service === 'restored during it') {
    const bounds = later(BOUNDS.dnsOnly, silenceS);
    const sending = sendOutages(during.dns);
    const receiving = receiveOutages(ledgers.dns, window);
    const lastBack = lastBackS([...sending, ...receiving], zeroOf(evidence));
    return [
      ...outageFigures('DNS-only, send', sending, bounds),
      ...outageFigures('DNS-only, receive', receiving, bounds),
      atMost('clients', 'DNS-only, last one back after the fault', lastBack, 's', bounds.last),
      ...failover,
    ];
  }
  const untilTheEnd = { beganMs: window.beganMs, endMs: Number.POSITIVE_INFINITY };
  const sending = sendOutages(operationsSince(ledgers.dns, window.beganMs));
  const receiving = receiveOutages(ledgers.dns, untilTheEnd);
  const lastBack = lastBackS([...sending, ...receiving], window.endMs);
  return [
    told('clients', 'DNS-only, send: without service', sending.length, 'clients'),
    told('clients', 'DNS-only, receive: without service', receiving.length, 'clients'),
    atMost('clients', 'DNS-only, last one back after its end', lastBack, 's', BOUNDS.dnsOnly.last + silenceS),
    ...failover,
  ];
}

function failoverFigures({ expects, ledgers, window }: Evidence, during: During): readonly Figure[] {
  const sends = during.failover.map((operation) => sendLatencyMs(operation) / 1000);
  if (expects.failoverServed) {
    return [
      ...percentileFigures('failover, send', sends, BOUNDS.failoverSend),
      ...(expects.service === 'unaffected'
        ? []
        : outageFigures(
            'failover, receive',
            receiveOutages(ledgers.failover, window),
            BOUNDS.failoverReceive,
          )),
    ];
  }
  const outages = [
    ...sendOutages(operationsSince(ledgers.failover, window.beganMs)),
    ...receiveOutages(ledgers.failover, { beganMs: window.beganMs, endMs: Number.POSITIVE_INFINITY }),
  ];
  const lastBack = lastBackS(outages, window.endMs);
  return [atMost('clients', 'failover, last one back after its end', lastBack, 's', BOUNDS.dnsOnly.last)];
}

function operationsSince(entries: Evidence['ledgers']['dns'], fromMs: number): readonly Operation[] {
  return operationsOf(entries).filter(({ outcome }) => outcome === undefined || outcome.endMs >= fromMs);
}

function outageFigures(who: string, outages: readonly Outage[], bounds: OutageBounds): readonly Figure[] {
  const seconds = outages.map(
    ({ beganMs, endedMs }) => secondsSince(beganMs, endedMs) ?? Number.POSITIVE_INFINITY,
  );
  const never = seconds.filter((value) => !Number.isFinite(value)).length;
  return [
    told('clients', `${who}: without service`, outages.length, 'clients'),
    // Nobody was without service: no time is well within any bound.
    ...percentileFigures(`${who}:`, outages.length === 0 ? [0] : seconds, bounds),
    atMost('clients', `${who}: never back`, never, 'clients', 0),
  ];
}

function percentileFigures(who: string, seconds: readonly number[], bounds: OutageBounds): readonly Figure[] {
  const shares = { p50: 0.5, p99: 0.99, last: 1 } as const;
  return (['p50', 'p99', 'last'] as const).map((name) =>
    atMost('clients', `${who} ${name}`, percentile(seconds, shares[name]), 's', bounds[name]),
  );
}

function lastBackS(outages: readonly Outage[], fromMs: number): number | undefined {
  if (outages.length === 0) return 0;
  const ends = outages.map(({ endedMs }) => secondsSince(fromMs, endedMs) ?? Number.POSITIVE_INFINITY);
  return percentile(ends, 1);
}

/**
 * The figures of the group `errors`. DNS-only clients repeat nothing, so all their sends may fail until the last of
 * them has to be back; after that, and always for clients with failover, only the share that a p99 leaves out.
 */
export function errorFigures(evidence: Evidence, during: During): readonly Figure[] {
  const { expects, ledgers, window } = evidence;
  const patienceMs = (BOUNDS.dnsOnly.last + (expects.silent ? SILENCE_S : 0)) * 1000;
  const backMs = {
    unaffected: window.beganMs,
    'restored during it': zeroOf(evidence) + patienceMs,
    'restored after it': window.endMs + patienceMs,
  }[expects.service];
  const early = during.dns.filter(({ attempt }) => attempt.intendedMs < backMs).length;
  const after = operationsOf([...ledgers.dns, ...ledgers.failover]).filter(
    ({ attempt }) => attempt.intendedMs >= Math.max(window.endMs, backMs),
  );
  const groups = [
    { name: 'DNS-only, during the fault', operations: during.dns, mayFail: early },
    {
      name: 'failover, during the fault',
      operations: during.failover,
      mayFail: expects.failoverServed ? 0 : during.failover.length,
    },
    { name: 'all, after its end', operations: after, mayFail: 0 },
  ];
  return groups.flatMap(({ name, operations, mayFail }) => {
    const failed = operations.filter(({ outcome }) => outcome?.kind !== 'accepted').length;
    const max = mayFail + Math.ceil((operations.length - mayFail) * BOUNDS.failedShare);
    return [
      told('errors', `${name}: sends`, operations.length, 'sends'),
      atMost('errors', `${name}: not accepted`, failed, 'sends', max),
      ...Object.entries(errorClasses(operations)).map(([error, count]) =>
        told('errors', `  ${error}`, count, 'sends'),
      ),
    ];
  });
}

/** How many sends were not accepted, by what their sender saw. */
export function errorClasses(operations: readonly Operation[]): Readonly<Record<string, number>> {
  const classes: Record<string, number> = {};
  for (const { outcome } of operations) {
    if (outcome?.kind === 'accepted') continue;
    const name = outcome === undefined ? 'unknown: no answer' : `${outcome.kind}: ${outcome.detail}`;
    classes[name] = (classes[name] ?? 0) + 1;
  }
  return classes;
}
