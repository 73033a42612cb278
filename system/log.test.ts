/** The log: one object a line, in order across processes, quiet below its level. */
import { expect, test } from 'vitest';
import { systemClock } from './clock.ts';
import { createLog, describeError } from './log.ts';

test('a line is one JSON object with time, level, event, the base and the fields', () => {
  const lines: string[] = [];
  const log = createLog({
    clock: { ...systemClock, wallMs: () => 0, monotonicMs: () => 12.34567 },
    base: { service: 'relay', site: 'aws' },
    level: 'info',
    write: (line) => lines.push(line),
  });
  log.debug('hidden');
  log.warn('peer down', { peer: 'gcp', reason: 'two\nlines' });
  expect(lines).toHaveLength(1);
  expect(lines[0]).not.toContain('\n');
  expect(JSON.parse(lines[0] ?? '')).toEqual({
    time: '1970-01-01T00:00:00.000Z',
    mono: 12.346,
    level: 'warn',
    event: 'peer down',
    service: 'relay',
    site: 'aws',
    peer: 'gcp',
    reason: 'two\nlines',
  });
});

test('an error is described on one line of bounded length', () => {
  expect(describeError(new TypeError('a\n  b'))).toBe('TypeError: a b');
  expect(describeError('x'.repeat(1000))).toHaveLength(300);
});
