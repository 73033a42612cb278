/**
 * The three thresholds, the hold-down and staleness of a vantage's detector.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Detector, NEW_DETECTOR, observationsToChange, observe, verdictAt } from './detector.ts';

const policy = { probeIntervalMs: 2000, downAfter: 3, okAfter: 5, upAfter: 10 };

/** Feeds `+` and `-`, one per interval, after whatever the detector has seen. */
function fed(detector: Detector, marks: string): Detector {
  return Array.from(marks).reduce(
    (before, mark) =>
      observe(before, { ready: mark === '+', atMs: (before.newestMs ?? 0) + policy.probeIntervalMs }, policy),
    detector,
  );
}

function verdict(detector: Detector): string {
  return verdictAt(detector, detector.newestMs ?? 0, policy);
}

const up = fed(NEW_DETECTOR, '+++++');

test('a detector that has seen nothing knows nothing', () => {
  expect(verdictAt(NEW_DETECTOR, 0, policy)).toBe('unknown');
});

test('the first verdict takes ok successes in a row, or down failures', () => {
  expect(verdict(fed(NEW_DETECTOR, '++++'))).toBe('unknown');
  expect(verdict(up)).toBe('up');
  expect(verdict(fed(NEW_DETECTOR, '--'))).toBe('unknown');
  expect(verdict(fed(NEW_DETECTOR, '---'))).toBe('down');
});

test('failures survive isolated successes', () => {
  expect(verdict(fed(up, '-+-+'))).toBe('up');
  expect(verdict(fed(up, '-+-+-'))).toBe('down');
  expect(verdict(fed(up, '-++++-++++-'))).toBe('down');
});

test('ok successes in a row forgive earlier failures', () => {
  expect(verdict(fed(up, '--+++++--'))).toBe('up');
  expect(verdict(fed(up, '--+++++---'))).toBe('down');
});

test('coming back takes up successes in a row', () => {
  const down = fed(up, '---');
  expect(verdict(fed(down, '+++++++++'))).toBe('down');
  expect(verdict(fed(down, '+++++++++-+++++++++'))).toBe('down');
  expect(verdict(fed(down, '++++++++++'))).toBe('up');
});

test('each relapse doubles what the next recovery takes, up to a limit', () => {
  let detector = fed(up, '---');
  const taken: number[] = [];
  for (let round = 0; round < 7; round += 1) {
    taken.push(observationsToChange(detector, detector.newestMs ?? 0, policy));
    detector = fed(detector, '+'.repeat(taken.at(-1) ?? 0));
    expect(verdict(detector)).toBe('up');
    detector = fed(detector, '---');
    expect(verdict(detector)).toBe('down');
  }
  expect(taken).toStrictEqual([10, 20, 40, 80, 160, 160, 160]);
});

test('a target that stayed up for long has no relapses on its record', () => {
  const relapsed = fed(fed(fed(up, '---'), '+'.repeat(10)), '---');
  const forgiven = fed(fed(fed(relapsed, '+'.repeat(20)), '+'.repeat(300)), '---');
  expect(observationsToChange(forgiven, forgiven.newestMs ?? 0, policy)).toBe(10);
});

test('a verdict is unknown three intervals after the newest observation', () => {
  const newestMs = up.newestMs ?? 0;
  expect(verdictAt(up, newestMs + 3 * policy.probeIntervalMs, policy)).toBe('up');
  expect(verdictAt(up, newestMs + 3 * policy.probeIntervalMs + 1, policy)).toBe('unknown');
});

test('what was counted before a gap is no longer in a row', () => {
  const almostDown = fed(up, '--');
  const afterGap = observe(almostDown, { ready: false, atMs: (almostDown.newestMs ?? 0) + 60_000 }, policy);
  expect(verdict(afterGap)).toBe('up');
  const almostUp = fed(fed(up, '---'), '+++++++++');
  const back = observe(almostUp, { ready: true, atMs: (almostUp.newestMs ?? 0) + 60_000 }, policy);
  expect(verdict(back)).toBe('down');
});

test('observationsToChange is exact: never sooner, and possible in just as many', () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 80 }), (history) => {
      const detector = fed(NEW_DETECTOR, history.map((ready) => (ready ? '+' : '-')).join(''));
      if (detector.newestMs === undefined) return;
      const before = verdict(detector);
      const needed = observationsToChange(detector, detector.newestMs, policy);
      const outcomes = ['+', '-'].map((mark) => {
        let current = detector;
        for (let count = 1; count <= needed; count += 1) {
          current = fed(current, mark);
          if (verdict(current) !== before) return count;
        }
        return Number.POSITIVE_INFINITY;
      });
      expect(Math.min(...outcomes)).toBe(needed);
    }),
  );
});

test('a target that is never ready twice in a row is never called up', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom('+-', '-'), { maxLength: 100 }), (parts) => {
      expect(verdict(fed(NEW_DETECTOR, parts.join('')))).not.toBe('up');
    }),
  );
});
