/** Which messages are let in at which load. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { hasRoom, isCrowded, type Load, recipientsOf, smoothLag } from './load.ts';
import { URGENCIES } from './message.ts';

const load = fc.record({
  underWay: fc.nat(300),
  underWayMax: fc.integer({ min: 1, max: 200 }),
  lagMs: fc.double({ min: 0, max: 1000, noNaN: true }),
});

test('whoever has room, the more urgent has it too, and nobody has it over the limit', () => {
  fc.assert(
    fc.property(load, (at) => {
      const rooms = URGENCIES.map((urgency) => hasRoom(at, urgency));
      expect(rooms).toEqual([...rooms].sort((a, b) => Number(a) - Number(b)));
      if (at.underWay >= at.underWayMax) expect(rooms).not.toContain(true);
    }),
  );
});

test.each<[string, Load, readonly boolean[]]>([
  ['idle', { underWay: 0, underWayMax: 100, lagMs: 0 }, [true, true, true, true]],
  ['half full', { underWay: 50, underWayMax: 100, lagMs: 0 }, [false, true, true, true]],
  ['nearly full', { underWay: 90, underWayMax: 100, lagMs: 0 }, [false, false, false, true]],
  ['full', { underWay: 100, underWayMax: 100, lagMs: 0 }, [false, false, false, false]],
  ['late', { underWay: 0, underWayMax: 100, lagMs: 250 }, [false, false, true, true]],
  ['very late', { underWay: 0, underWayMax: 100, lagMs: 900 }, [false, false, false, false]],
  ['small and idle', { underWay: 0, underWayMax: 1, lagMs: 0 }, [true, true, true, true]],
])('a relay that is %s', (_, at, expected) => {
  expect(URGENCIES.map((urgency) => hasRoom(at, urgency))).toEqual(expected);
  expect(isCrowded(at)).toBe(expected[0] === false);
});

function late(lagMs: number): Load {
  return { underWay: 0, underWayMax: 100, lagMs };
}

test('one hiccup, however long, refuses no ordinary message, and a surge is over soon after it ends', () => {
  expect(hasRoom(late(smoothLag(0, 60_000)), 'normal')).toBe(true);
  let lagMs = 1000;
  for (let calm = 0; calm < 10; calm += 1) lagMs = smoothLag(lagMs, 0);
  expect(hasRoom(late(lagMs), 'very-low')).toBe(true);
});

test('recipients leave a tenth of the connections to others', () => {
  expect([10, 20_000].map(recipientsOf)).toEqual([9, 18_000]);
});
