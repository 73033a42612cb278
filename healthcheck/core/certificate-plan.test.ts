/** When a certificate is asked for: early enough, not all at once, and patiently after failures. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { nextAttemptMs, renewAtMs, retryAtMs } from './certificate-plan.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const NOW_MS = 1_800_000_000_000;
const fraction = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const validity = fc
  .tuple(fc.integer({ min: 0, max: 2 * NOW_MS }), fc.integer({ min: 1, max: 3650 * DAY_MS }))
  .map(([notBeforeMs, lifeMs]) => ({ notBeforeMs, notAfterMs: notBeforeMs + lifeMs }));
const failed = fc.record({
  failures: fc.integer({ min: 1, max: 10_000 }),
  atMs: fc.integer({ min: 0, max: 2 * NOW_MS }),
  retryAfterMs: fc.oneof(fc.integer({ min: -DAY_MS, max: 1000 * DAY_MS }), fc.constant(0)),
  fraction,
});
const window = fc.record({
  startMs: fc.integer({ min: 0, max: 4 * NOW_MS }),
  endMs: fc.integer({ min: 0, max: 4 * NOW_MS }),
});

test.each([
  [90, 0, 60],
  [90, 0.5, 57],
  [6, 0, 4],
])('a certificate of %i days, with chance %d, is renewed after %i', (days, chance, after) => {
  const atMs = renewAtMs({ notBeforeMs: NOW_MS, notAfterMs: NOW_MS + days * DAY_MS }, chance);
  expect((atMs - NOW_MS) / DAY_MS).toBeCloseTo(after, 6);
});

test('without a suggestion it is renewed between three fifths and two thirds of its life', () => {
  fc.assert(
    fc.property(validity, fraction, ({ notBeforeMs, notAfterMs }, chance) => {
      const share =
        (renewAtMs({ notBeforeMs, notAfterMs }, chance) - notBeforeMs) / (notAfterMs - notBeforeMs);
      return share > 0.6 - 1e-3 && share < 0.667 + 1e-3;
    }),
  );
});

test('a suggestion is followed, but a sixth of the life is always left', () => {
  fc.assert(
    fc.property(validity, fraction, window, (one, chance, suggested) => {
      const atMs = renewAtMs(one, chance, suggested);
      const latestMs = one.notBeforeMs + ((one.notAfterMs - one.notBeforeMs) * 5) / 6;
      expect(atMs).toBeLessThanOrEqual(latestMs + 1);
      if (suggested.endMs <= latestMs && suggested.startMs <= suggested.endMs) {
        expect(atMs).toBeGreaterThanOrEqual(suggested.startMs - 1);
        expect(atMs).toBeLessThanOrEqual(suggested.endMs + 1);
      }
    }),
  );
});

test('after a failure it waits as long as it was asked to, at most a day, and at most half an hour by itself', () => {
  fc.assert(
    fc.property(failed, (attempt) => {
      const waitMs = retryAtMs(attempt) - attempt.atMs;
      expect(waitMs).toBeGreaterThanOrEqual(0);
      expect(waitMs).toBeLessThanOrEqual(DAY_MS);
      if (attempt.retryAfterMs <= 0) expect(waitMs).toBeLessThanOrEqual(HOUR_MS / 2);
      else expect(waitMs).toBeGreaterThanOrEqual(Math.min(attempt.retryAfterMs, DAY_MS) - 1);
    }),
  );
});

test('the first wait is within a minute, and the jitter is full', () => {
  const attempt = { failures: 1, atMs: NOW_MS, retryAfterMs: 0 };
  expect(retryAtMs({ ...attempt, fraction: 0 })).toBe(NOW_MS);
  expect(retryAtMs({ ...attempt, fraction: 0.999 })).toBeCloseTo(NOW_MS + 59_940, 0);
  expect(retryAtMs({ ...attempt, failures: 50, fraction: 0.5 })).toBe(NOW_MS + 900_000);
});

test('without a certificate it is asked for at once, and with one neither before it is due nor before the wait is over', () => {
  expect(nextAttemptMs({ certificate: undefined, fraction: 0.5 })).toBe(Number.NEGATIVE_INFINITY);
  fc.assert(
    fc.property(validity, fraction, failed, (certificate, chance, last) => {
      const next = nextAttemptMs({ certificate, fraction: chance, failed: last });
      expect(next).toBe(Math.max(renewAtMs(certificate, chance), retryAtMs(last)));
      expect(nextAttemptMs({ certificate: undefined, fraction: chance, failed: last })).toBe(retryAtMs(last));
    }),
  );
});

test('a certificate that is due when it is issued is asked for again only after a pause', () => {
  fc.assert(
    fc.property(validity, fraction, window, (certificate, chance, suggested) => {
      const issuedAtMs = certificate.notAfterMs + DAY_MS;
      const waitMs = nextAttemptMs({ certificate, fraction: chance, suggested, issuedAtMs }) - issuedAtMs;
      const lifeMs = certificate.notAfterMs - certificate.notBeforeMs;
      expect(waitMs).toBeCloseTo(Math.min(HOUR_MS, lifeMs / 10), 0);
    }),
  );
});
