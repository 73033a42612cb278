/** What the answer of a relay says, whatever it is. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isFinal, problemCode, retryAfterMs } from './problem.ts';

test('4xx is the last word but for three that say "not now", and nothing else is', () => {
  const statuses = Array.from({ length: 500 }, (_, place) => 100 + place);
  const final = statuses.filter(isFinal);
  const fourHundreds = Array.from({ length: 100 }, (_, place) => 400 + place);
  expect(final).toEqual(fourHundreds.filter((status) => ![408, 425, 429].includes(status)));
});

test.each<[string | undefined, number]>([
  [undefined, 0],
  ['0', 0],
  ['120', 120_000],
  // RFC 9110 §10.2.3 has dates, too.
  ['Thu, 01 Jan 1970 00:01:40 GMT', 60_000],
  ['Thu, 01 Jan 1970 00:00:01 GMT', 0],
  ['-5', 0],
  ['Thursday, 01-Jan-70 00:01:40 GMT', 60_000],
  ['soon', 0],
])('Retry-After: %s at 40 s since 1970 is %i ms', (value, ms) => {
  expect(retryAfterMs(value, 40_000)).toBe(ms);
});

test('the code of a problem is read, and anything else is none', () => {
  const codeOf = (text: string): string => problemCode(new TextEncoder().encode(text));
  expect(codeOf('{"code":"body_too_large"}')).toBe('body_too_large');
  for (const text of [
    '',
    '{',
    '[]',
    'null',
    '{"code":1}',
    '{"code":"Not Code"}',
    `{"code":"${'x'.repeat(65)}"}`,
  ]) {
    expect(codeOf(text), text).toBe('');
  }
  fc.assert(
    fc.property(fc.uint8Array(), (body) => {
      expect(problemCode(body)).toMatch(/^[a-z_]{0,64}$/);
    }),
  );
});
