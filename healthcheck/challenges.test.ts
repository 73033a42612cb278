/**
 * ACME challenges: who may publish what, and for how long.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createManualClock } from '../test/support/manual-clock.ts';
import { createChallenges } from './challenges.ts';
import type { ChallengeRecords } from './core/zone.ts';

const A = 'a'.repeat(43);
const B = 'b'.repeat(43);
const C = 'c'.repeat(43);

function setUp(): {
  readonly clock: ReturnType<typeof createManualClock>;
  readonly challenges: ReturnType<typeof createChallenges>;
  readonly held: () => readonly ChallengeRecords[];
  readonly stopServing: () => void;
} {
  const clock = createManualClock();
  let held: readonly ChallengeRecords[] = [];
  let isServing = true;
  const challenges = createChallenges({
    clock,
    isServing: () => isServing,
    changed: (records) => {
      held = records;
    },
  });
  return {
    clock,
    challenges,
    held: () => held,
    stopServing: () => {
      isServing = false;
    },
  };
}

test('a site publishes for the zone and for itself, and what it publishes replaces what it had', () => {
  const { challenges, held } = setUp();
  challenges.receive(JSON.stringify({ zone: [A], site: [B] }), 'aws');
  challenges.receive(JSON.stringify({ zone: [C] }), 'gcp');
  expect(held()).toStrictEqual([
    { name: '_acme-challenge', values: [A] },
    { name: '_acme-challenge.aws', values: [B] },
    { name: '_acme-challenge', values: [C] },
  ]);
  challenges.receive('{"zone":[]}', 'aws');
  expect(held()).toStrictEqual([{ name: '_acme-challenge', values: [C] }]);
});

test('what nobody publishes again is forgotten after an hour', () => {
  const { clock, challenges, held } = setUp();
  challenges.receive(JSON.stringify({ zone: [A] }), 'aws');
  clock.advance(3_000_000);
  challenges.receive(JSON.stringify({ zone: [A] }), 'aws');
  clock.advance(3_599_999);
  expect(held()).toHaveLength(1);
  clock.advance(1);
  expect(held()).toStrictEqual([]);
});

test.each([
  ['', 'not_json'],
  ['null', 'not_challenges'],
  ['{"gcp":[]}', 'not_challenges'],
  [JSON.stringify({ zone: A }), 'not_challenges'],
  [JSON.stringify({ zone: [`${A}x`] }), 'not_challenges'],
  [JSON.stringify({ zone: [A, A, A, A, A] }), 'not_challenges'],
])('%s is refused: %s', (text, fault) => {
  const { challenges, held } = setUp();
  expect(challenges.receive(text, 'aws')).toStrictEqual({ ok: false, fault });
  expect(held()).toStrictEqual([]);
});

test('a nameserver that serves no zone yet does not say that it has them', () => {
  const { challenges, held, stopServing } = setUp();
  stopServing();
  expect(challenges.receive(JSON.stringify({ zone: [A] }), 'aws')).toStrictEqual({
    ok: false,
    fault: 'not_serving',
  });
  expect(held()).toStrictEqual([]);
});

test('no text makes it throw', () => {
  const { challenges } = setUp();
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => void challenges.receive(text, 'aws')));
});
