/** Credentials that are refused again and again, and whom that keeps out. */
import { expect, test } from 'vitest';
import { seededRandom } from '../system/random.ts';
import { createManualClock } from '../test/support/manual-clock.ts';
import { createFailures, type Failures } from './failures.ts';

const HOME = '192.0.2.7';
const clock = createManualClock();

function failures(isCrowded = false): Failures {
  return createFailures({ isCrowded: () => isCrowded, clock, random: seededRandom(1) });
}

test('a credential that was refused ten times from an address is hopeless there, and nowhere else', () => {
  const seen = failures();
  for (let count = 0; count < 10; count += 1) {
    expect(seen.isHopeless(HOME, () => 'bad')).toBe(false);
    seen.note(HOME, 'bad');
  }
  expect(seen.isHopeless(HOME, () => 'bad')).toBe(true);
  expect(seen.isHopeless(HOME, () => 'good')).toBe(false);
  expect(seen.isHopeless('192.0.2.8', () => 'bad')).toBe(false);
  expect(seen.isHopeless(undefined, () => 'bad')).toBe(false);
  clock.advance(1000);
  expect(seen.isHopeless(HOME, () => 'bad')).toBe(false);
});

test.each([
  [false, false],
  [true, true],
])(
  'an address that shows always another one is turned away only while the relay is crowded: %s',
  (isCrowded, expected) => {
    const seen = failures(isCrowded);
    for (let count = 0; count < 100; count += 1) seen.note(HOME, `bad ${count}`);
    expect(seen.isUnwelcome(HOME)).toBe(false);
    seen.note(HOME, undefined);
    expect(seen.isUnwelcome(HOME)).toBe(expected);
    expect(seen.isUnwelcome('192.0.2.8')).toBe(false);
    expect(seen.isUnwelcome(undefined)).toBe(false);
    clock.advance(1000);
    expect(seen.isUnwelcome(HOME)).toBe(false);
  },
);
