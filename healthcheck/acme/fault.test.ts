/** What authorities say, sorted by what a person has to do about it; and how long they ask to wait. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { AcmeFailure, faultOf, readProblem } from './fault.ts';
import { retryAfterMs } from './session.ts';

const WALL_MS = 1_800_000_000_000;

test.each([
  ['urn:ietf:params:acme:error:rateLimited', 'rate_limited'],
  ['urn:ietf:params:acme:error:caa', 'caa_forbids'],
  ['urn:ietf:params:acme:error:dns', 'challenge_failed'],
  ['urn:ietf:params:acme:error:externalAccountRequired', 'account_refused'],
  ['urn:ietf:params:acme:error:rejectedIdentifier', 'order_refused'],
  ['urn:ietf:params:acme:error:constructor', 'order_refused'],
])('%s is %s', (type, fault) => {
  expect(faultOf(readProblem({ type, detail: 'no' }), 'order_refused')).toBe(fault);
});

test('details of subproblems are told too', () => {
  const value = { type: 'x:malformed', detail: 'Some', subproblems: [{ detail: 'a' }, 7, { detail: 'b' }] };
  expect(readProblem(value)).toEqual({ type: 'malformed', detail: 'Some; a; b' });
});

test('whatever an authority sends, there is a fault, and a message of one bounded line', () => {
  fc.assert(
    fc.property(fc.anything(), fc.string({ maxLength: 2000 }), (value, text) => {
      const problem = readProblem(value);
      const failure = new AcmeFailure(faultOf(problem, 'not_acme'), problem.detail + text);
      expect(failure.message.length).toBeLessThanOrEqual(400);
      expect(failure.message).not.toContain('\n');
    }),
  );
});

test.each([
  ['120', 120_000],
  [new Date(WALL_MS + 5000).toUTCString(), 5000],
  [new Date(WALL_MS - 5000).toUTCString(), 0],
  ['soon', 0],
  [undefined, 0],
])('Retry-After %s is %i ms', (said, ms) => {
  expect(retryAfterMs({ headers: said === undefined ? {} : { 'retry-after': said } }, WALL_MS)).toBe(ms);
});
