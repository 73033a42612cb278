/**
 * The recipient's half of `relay.v1` against the vectors that every implementation shares.
 */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import vectors from '../test/vectors/frames.json' with { type: 'json' };
import { type Bytes, concat, fromBase64url, toBase64url } from './bytes.ts';
import { encodeAck, parseControlFrame, parseMessageFrame } from './frames.ts';

function bytes(text: string): Bytes {
  const decoded = fromBase64url(text);
  if (decoded === undefined) throw new Error('not base64url');
  return decoded;
}

test.each(vectors.messages)('a message frame is read: $name', ({ name: _name, frame, ...expected }) => {
  const parsed = parseMessageFrame(bytes(frame));
  if (!parsed.ok) throw new Error(parsed.fault);
  expect({ ...parsed.value, body: toBase64url(parsed.value.body) }).toEqual(expected);
});

test.each(vectors.malformedMessages)('a message frame is refused: $name', ({ frame }) => {
  expect(parseMessageFrame(bytes(frame))).toEqual({ ok: false, fault: 'malformed' });
});

test('a message frame is read wherever it lies in its buffer', () => {
  const [vector] = vectors.messages;
  const frame = concat(new Uint8Array(5), bytes(vector?.frame ?? ''));
  expect(parseMessageFrame(frame.subarray(5))).toEqual(parseMessageFrame(bytes(vector?.frame ?? '')));
});

test.each(vectors.acks)('an ack frame is built: $name', ({ frame, ids, mailbox, signature }) => {
  expect(toBase64url(encodeAck(mailbox, bytes(signature), concat(...ids.map(bytes))))).toBe(frame);
});

describe('control frames', () => {
  test.each(vectors.control)('$frame is read', ({ frame, value }) => {
    expect(parseControlFrame(frame)).toEqual({ ok: true, value });
  });

  test.each(vectors.unknownControl)('%s is of a type that is not known', (frame) => {
    expect(parseControlFrame(frame)).toEqual({ ok: false, fault: 'unknown' });
  });

  test.each(vectors.malformedControl)('%j is malformed', (frame) => {
    expect(parseControlFrame(frame)).toEqual({ ok: false, fault: 'malformed' });
  });
});

test('no bytes and no text make a parser throw', () => {
  const nearly = fc.uint8Array({ maxLength: 80 }).map((tail) => Uint8Array.of(1, ...tail));
  fc.assert(fc.property(fc.oneof(fc.uint8Array(), nearly), (given) => void parseMessageFrame(given)));
  const json = fc.oneof(
    fc.string(),
    fc.json(),
    fc.json().map((inner) => `{"t":"welcome","site":${inner}}`),
  );
  fc.assert(fc.property(json, (given) => void parseControlFrame(given)));
});
