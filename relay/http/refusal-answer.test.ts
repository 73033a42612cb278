/** What belongs to the answer of a refusal by its status (RFC 9110 §15.5). */
import { expect, test } from 'vitest';
import { REFUSAL_NAMES, REFUSALS } from '../core/refusal.ts';
import { refusalAnswer } from './refusal-answer.ts';

test.each(REFUSAL_NAMES)('%s', (refusal) => {
  const { status, headers, body } = refusalAnswer(refusal);
  expect(JSON.parse(body)).toEqual({
    type: 'about:blank',
    title: REFUSALS[refusal].title,
    status: REFUSALS[refusal].status,
    code: refusal,
  });
  expect(headers['Content-Type']).toBe('application/problem+json');
  // A 401 must say how to authenticate; a 415 ought to say which coding is taken.
  expect('WWW-Authenticate' in headers).toBe(status === 401);
  expect('Accept-Encoding' in headers).toBe(status === 415);
  expect('Retry-After' in headers).toBe(status === 429 || status === 503);
});
