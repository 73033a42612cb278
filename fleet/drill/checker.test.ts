/** The checker must find each kind of fault, and the self-test must find a checker that does not. */
import { describe, expect, test } from 'vitest';
import { check, type Findings } from './checker.ts';
import type { Delivery, LedgerEntry } from './ledger.ts';
import { digestOf, makePayload } from './payload.ts';
import { PLANTS, type Plant, selfTest } from './self-test.ts';

const options = { runId: 'run-1', payloadBytes: 300 };

function attempt(id: string, to = 'ada'): LedgerEntry {
  return { kind: 'attempt', id, client: 's1', to, intendedMs: 1, startMs: 1 };
}

function outcome(kind: 'accepted' | 'refused' | 'unknown', id: string): LedgerEntry {
  return { kind, id, endMs: 2, detail: '' };
}

function delivery(id: string, to = 'ada', changes: Partial<Delivery> = {}): Delivery {
  const claim = { id, to };
  const digest = digestOf(makePayload(options.runId, claim, options.payloadBytes));
  return { kind: 'delivered', mailbox: to, claim, digest, atMs: 3, ...changes };
}

function sent(id: string, to = 'ada'): readonly LedgerEntry[] {
  return [attempt(id, to), outcome('accepted', id), delivery(id, to)];
}

const clean = ['s1/1', 's1/2', 's1/3', 's1/4', 's1/5', 's1/6'].flatMap((id) => sent(id));

describe('the checker', () => {
  test('finds nothing wrong where nothing is', () => {
    expect(check(clean, options)).toEqual({
      attempted: 6,
      accepted: 6,
      refused: 0,
      unknown: 0,
      delivered: 6,
      lost: [],
      recovered: 0,
      refusedButDelivered: 0,
      phantom: [],
      corrupted: [],
      misdelivered: [],
      repetitions: 0,
      duplicates: [],
    });
  });

  test('calls accepted and never delivered lost', () => {
    const found = check([...clean, attempt('s1/7'), outcome('accepted', 's1/7')], options);
    expect(found.lost).toEqual(['s1/7']);
    expect(found.delivered).toBe(6);
  });

  test('does not call lost what was refused or never answered', () => {
    const entries = [...clean, attempt('s1/7'), outcome('refused', 's1/7'), attempt('s1/8')];
    expect(check(entries, options)).toMatchObject({ lost: [], refused: 1, unknown: 1 });
  });

  test('counts an unanswered message that arrived as recovered', () => {
    const entries = [...clean, attempt('s1/7'), outcome('unknown', 's1/7'), delivery('s1/7')];
    expect(check(entries, options)).toMatchObject({ unknown: 1, recovered: 1, refusedButDelivered: 0 });
  });

  test('counts a refused message that arrived apart', () => {
    const entries = [...clean, attempt('s1/7'), outcome('refused', 's1/7'), delivery('s1/7')];
    expect(check(entries, options)).toMatchObject({ refused: 1, recovered: 0, refusedButDelivered: 1 });
  });

  test('a repetition that the client dropped is no duplicate', () => {
    const found = check([...clean, { kind: 'repeated', mailbox: 'ada' }], options);
    expect(found).toMatchObject({ repetitions: 1, duplicates: [] });
  });

  test('a repetition that the application saw is a duplicate', () => {
    expect(check([...clean, delivery('s1/1')], options)).toMatchObject({
      repetitions: 1,
      duplicates: ['s1/1'],
    });
  });

  test('what nobody tried to send is a phantom', () => {
    expect(check([...clean, delivery('s9/1')], options).phantom).toEqual(['s9/1']);
  });

  test('one wrong byte is corruption, and no delivery', () => {
    const entries = [attempt('s1/7'), outcome('accepted', 's1/7'), delivery('s1/7', 'ada', { digest: 'ff' })];
    expect(check(entries, options)).toMatchObject({ corrupted: ['s1/7'], lost: ['s1/7'] });
  });

  test('what could not be decrypted is corruption', () => {
    const entry = delivery('s1/7', 'ada', { claim: null, digest: '' });
    expect(check([...clean, entry], options).corrupted).toEqual(['unreadable, in ada']);
  });

  test('what reached another mailbox is misdelivered, and no delivery', () => {
    const entries = [
      attempt('s1/7'),
      outcome('accepted', 's1/7'),
      delivery('s1/7', 'ada', { mailbox: 'bob' }),
    ];
    expect(check(entries, options)).toMatchObject({ misdelivered: ['s1/7'], lost: ['s1/7'] });
  });
});

describe('the self-test', () => {
  test('finds all five plants with a checker that works', () => {
    expect(selfTest(clean, options)).toEqual([]);
  });

  test('leaves the ledgers as they are', () => {
    const before = structuredClone(clean);
    selfTest(clean, options);
    expect(clean).toEqual(before);
  });

  const blinded: Readonly<Record<Plant, Partial<Findings>>> = {
    loss: { lost: [] },
    duplicate: { duplicates: [] },
    phantom: { phantom: [] },
    corrupted: { corrupted: [] },
    misdelivered: { misdelivered: [] },
  };
  test.each(PLANTS)('names a checker that is blind for: %s', (plant) => {
    const blind = (...given: Parameters<typeof check>): Findings => ({
      ...check(...given),
      ...blinded[plant],
    });
    expect(selfTest(clean, options, blind)).toEqual([plant]);
  });

  test('fails as a whole when there is too little to plant in', () => {
    expect(selfTest(clean.slice(0, 6), options)).toEqual(PLANTS);
  });
});
