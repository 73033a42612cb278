/** How often a recipient may speak: bounded for floods, never in the way of one that answers what it got. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FRAMES_BURST, FRAMES_PER_SECOND, FrameAllowance } from './frame-allowance.ts';

test('a recipient that acks each message by itself is always read', () => {
  const allowance = new FrameAllowance(0);
  for (let second = 1; second <= 60; second += 1) {
    allowance.earn(400);
    for (let ack = 0; ack < 400; ack += 1) expect(allowance.take(second * 1000)).toBe(0);
  }
});

test('what comes of its own is read in a burst, and then by the second', () => {
  const allowance = new FrameAllowance(0);
  for (let frame = 0; frame < FRAMES_BURST; frame += 1) expect(allowance.take(0)).toBe(0);
  const waitMs = allowance.take(0);
  expect(waitMs).toBe(1000 + 1000 / FRAMES_PER_SECOND);
  for (let frame = 0; frame < FRAMES_PER_SECOND; frame += 1) expect(allowance.take(waitMs)).toBe(0);
  expect(allowance.take(waitMs)).toBeGreaterThan(0);
});

test('messages that nobody acks are no allowance without end', () => {
  const allowance = new FrameAllowance(0);
  allowance.earn(1_000_000);
  for (let frame = 0; frame < FRAMES_BURST; frame += 1) allowance.take(0);
  expect(allowance.take(0)).toBeGreaterThan(0);
});

test('whoever is read only when it is due sends no more than the rate, whatever comes when', () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 20 }), { minLength: 1000, maxLength: 2000 }), (gaps) => {
      const allowance = new FrameAllowance(0);
      let nowMs = 0;
      let frames = 0;
      for (const gapMs of gaps) {
        nowMs += gapMs;
        frames += 1;
        nowMs += allowance.take(nowMs);
      }
      expect(frames).toBeLessThanOrEqual(FRAMES_BURST + 1 + (nowMs / 1000) * FRAMES_PER_SECOND);
    }),
  );
});
