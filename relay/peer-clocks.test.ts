/** How far the clocks of other sites are off, as soon as it is so. */
import { expect, test } from 'vitest';
import { createPeerClocks } from './peer-clocks.ts';

test('a jump of the own clock is known before any other site has spoken again', () => {
  let wallMs = 1_000_000;
  let nowMs = 500;
  const clocks = createPeerClocks({ wallMs: () => wallMs, monotonicMs: () => nowMs });
  expect(clocks.skews().size).toBe(0);
  clocks.note('gcp', 1_000_020, 500);
  nowMs += 100;
  wallMs += 100;
  expect(clocks.skews()).toEqual(new Map([['gcp', 20]]));
  wallMs += 480_000;
  expect(clocks.skews()).toEqual(new Map([['gcp', -479_980]]));
  clocks.note('gcp', wallMs + 5, nowMs);
  expect(clocks.skews()).toEqual(new Map([['gcp', 5]]));
});
