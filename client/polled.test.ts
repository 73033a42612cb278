/**
 * Reading what a relay answers to a long-poll.
 */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { parsePolled } from './polled.ts';

const message = {
  id: 'AAAAAAAAAAAAAAAAAAAAAA',
  acceptedSeconds: 1_790_000_000,
  secondsLeft: 600,
  coding: 'aes128gcm',
  body: 'AAEC',
};

const parse = (value: unknown) => parsePolled(new TextEncoder().encode(JSON.stringify(value)), 3);

test('a message is the frame that a WebSocket would have brought', () => {
  expect(parse({ messages: [message] })).toEqual([{ ...message, mailbox: 3, body: Uint8Array.of(0, 1, 2) }]);
  expect(parse({ messages: [] })).toEqual([]);
});

test.each([
  ['an id that is cut off', { id: 'AAAA' }],
  ['an id in another spelling', { id: 'AAAAAAAAAAAAAAAAAAAAAB' }],
  ['a time that is not whole', { acceptedSeconds: 0.5 }],
  ['a time before all others', { secondsLeft: -1 }],
  ['no coding', { coding: '' }],
  ['a coding with a blank', { coding: 'aes 128' }],
  ['a body that is not base64url', { body: 'AA+/' }],
])('%s spoils the whole answer', (_what, change) => {
  expect(parse({ messages: [message, { ...message, ...change }] })).toBeUndefined();
});

test('no answer makes the parser throw', () => {
  const hostile = fc.oneof(
    fc.uint8Array(),
    fc.json().map((text) => new TextEncoder().encode(text)),
  );
  fc.assert(fc.property(hostile, (body) => void parsePolled(body, 0)));
  fc.assert(fc.property(fc.array(fc.jsonValue()), (messages) => void parse({ messages })));
});
