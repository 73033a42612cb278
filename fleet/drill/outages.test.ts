/** Outages are what the report is about; each rule that makes them honest has a test. */
import { describe, expect, test } from 'vitest';
import type { LedgerEntry } from './ledger.ts';
import {
  operationsIn,
  operationsOf,
  percentile,
  receiveOutages,
  sendLatencyMs,
  sendOutages,
} from './outages.ts';

const window = { beganMs: 1000, endMs: 20_000 };

function send(
  client: string,
  intendedMs: number,
  endMs: number | undefined,
  kind: 'accepted' | 'refused' | 'unknown',
): readonly LedgerEntry[] {
  const id = `${client}/${intendedMs}`;
  const attempt: LedgerEntry = { kind: 'attempt', id, client, to: 'ada', intendedMs, startMs: intendedMs };
  return endMs === undefined ? [attempt] : [attempt, { kind, id, endMs, detail: '' }];
}

function outagesOf(...entries: readonly (readonly LedgerEntry[])[]): ReturnType<typeof sendOutages> {
  return sendOutages(operationsIn(operationsOf(entries.flat()), window));
}

function link(change: 'up' | 'down', atMs: number): LedgerEntry {
  return { kind: 'link', client: 'r', change, site: '', atMs };
}

describe('the outage of a sender', () => {
  test('runs from the intended start of the first failure to the end of the success after the last', () => {
    const outages = outagesOf(
      send('s', 1100, 1110, 'refused'),
      send('s', 1300, 1310, 'refused'),
      send('s', 1500, 1540, 'accepted'),
    );
    expect(outages).toEqual([{ client: 's', beganMs: 1100, endedMs: 1540 }]);
  });

  test('is not over while failures still follow a success', () => {
    const outages = outagesOf(
      send('s', 1100, 1110, 'refused'),
      send('s', 1300, 1310, 'accepted'),
      send('s', 5000, 5010, 'refused'),
      send('s', 6000, 6010, 'accepted'),
    );
    expect(outages[0]?.endedMs).toBe(6010);
  });

  test('has no end when no success follows', () => {
    expect(outagesOf(send('s', 1100, 1110, 'unknown'))).toEqual([
      { client: 's', beganMs: 1100, endedMs: undefined },
    ]);
  });

  test('counts a send that was on its way when the fault began', () => {
    expect(outagesOf(send('s', 900, 1010, 'unknown'), send('s', 1200, 1210, 'accepted'))).toEqual([
      { client: 's', beganMs: 900, endedMs: 1210 },
    ]);
  });

  test('leaves out what was over before the fault and what began after it', () => {
    expect(outagesOf(send('s', 900, 950, 'refused'), send('s', 20_000, 20_010, 'refused'))).toEqual([]);
  });

  test('counts a send that never got an answer as failed', () => {
    expect(outagesOf(send('s', 1100, undefined, 'unknown'))).toHaveLength(1);
  });
});

test('a recipient is back once its connection stays', () => {
  expect(receiveOutages([link('up', 1), link('down', 1005), link('up', 7000)], window)).toEqual([
    { client: 'r', beganMs: 1005, endedMs: 7000 },
  ]);
  expect(receiveOutages([link('down', 1005), link('up', 2000), link('down', 2100)], window)).toEqual([
    { client: 'r', beganMs: 1005, endedMs: undefined },
  ]);
  expect(receiveOutages([link('up', 1)], window)).toEqual([]);
});

test('a send that was not accepted took for ever', () => {
  const [operation] = operationsOf(send('s', 1100, 1200, 'unknown'));
  expect(operation === undefined ? 0 : sendLatencyMs(operation)).toBe(Number.POSITIVE_INFINITY);
});

test('percentiles are by nearest rank', () => {
  const values = Array.from({ length: 100 }, (_, index) => index + 1);
  expect(percentile(values, 0.5)).toBe(50);
  expect(percentile(values, 0.99)).toBe(99);
  expect(percentile(values, 1)).toBe(100);
  expect(percentile([7], 0.99)).toBe(7);
  expect(percentile([], 0.99)).toBeUndefined();
});
