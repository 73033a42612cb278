/** Frames between a relay and a recipient: what is understood, and that nothing else does harm. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createTestMailbox } from '../../test/support/mailbox.ts';
import { ACK_IDS_MAX } from './ack.ts';
import { encodeMessageFrame, MAILBOXES_MAX, parseBinaryFrame, parseTextFrame, WINDOW_MAX } from './frame.ts';
import { openMessage } from './message.ts';

const malformed = { ok: false, fault: 'malformed' };

function hello(fields: object): string {
  return JSON.stringify({ t: 'hello', tokens: ['token'], window: 64, ...fields });
}

function ackFrame(count: number, idBytes: number, extra = 0): Buffer {
  const frame = Buffer.alloc(5 + 64 + idBytes + extra, 1);
  frame.writeUInt8(2, 0);
  frame.writeUInt16BE(3, 1);
  frame.writeUInt16BE(count, 3);
  return frame;
}

describe('a text frame', () => {
  test('is a hello or a beat', () => {
    expect(parseTextFrame(hello({}))).toEqual({
      ok: true,
      value: { type: 'hello', tokens: ['token'], window: 64 },
    });
    expect(parseTextFrame('{"t":"beat"}')).toEqual({ ok: true, value: { type: 'beat' } });
  });

  test('may have fields that a later protocol adds', () => {
    expect(parseTextFrame(hello({ later: true })).ok).toBe(true);
  });

  test.each([
    ['no mailbox', hello({ tokens: [] })],
    ['more mailboxes than allowed', hello({ tokens: Array(MAILBOXES_MAX + 1).fill('token') })],
    ['a token of more than 1024 characters', hello({ tokens: ['x'.repeat(1025)] })],
    ['a token that is no text', hello({ tokens: ['token', 1] })],
    ['no window', hello({ window: undefined })],
    ['a window of nothing', hello({ window: 0 })],
    ['a window over the limit', hello({ window: WINDOW_MAX + 1 })],
    ['a window with a fraction', hello({ window: 1.5 })],
    ['another type', '{"t":"welcome"}'],
    ['no object', '[{"t":"beat"}]'],
    ['null', 'null'],
    ['no JSON', 'beat'],
    ['nothing', ''],
  ])('with %s is malformed', (_, text) => {
    expect(parseTextFrame(text)).toEqual(malformed);
  });

  test('of arbitrary text or JSON never throws', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => void parseTextFrame(text)));
    const fields = fc.record({ tokens: fc.jsonValue(), window: fc.jsonValue() });
    fc.assert(fc.property(fields, (given) => void parseTextFrame(hello(given))));
  });
});

describe('an ack frame', () => {
  test('gives the mailbox, the signature and the ids as signed', () => {
    expect(parseBinaryFrame(ackFrame(2, 32))).toEqual({
      ok: true,
      value: { type: 'ack', mailbox: 3, signature: Buffer.alloc(64, 1), idBytes: Buffer.alloc(32, 1) },
    });
    expect(parseBinaryFrame(ackFrame(ACK_IDS_MAX, ACK_IDS_MAX * 16)).ok).toBe(true);
  });

  test.each([
    ['no ids', ackFrame(0, 0)],
    ['more ids than allowed', ackFrame(ACK_IDS_MAX + 1, (ACK_IDS_MAX + 1) * 16)],
    ['fewer ids than it says', ackFrame(2, 16)],
    ['more than it says', ackFrame(1, 16, 1)],
    ["the relay's own type", Buffer.of(1, 0, 0)],
    ['nothing', Buffer.alloc(0)],
  ])('with %s is malformed', (_, bytes) => {
    expect(parseBinaryFrame(bytes)).toEqual(malformed);
  });

  test('of arbitrary bytes never throws', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        parseBinaryFrame(bytes);
        parseBinaryFrame(Buffer.concat([Buffer.of(2), bytes]));
      }),
    );
  });
});

describe('a message frame', () => {
  const mailbox = createTestMailbox();
  const secondsLeft = (expiresMs: number, nowMs: number): number =>
    Buffer.from(encodeMessageFrame(0, mailbox.message('x', { expiresMs }), nowMs)).readUInt32BE(23);

  test('of anything that a peer could have stored never throws', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.maxSafeNat(), fc.maxSafeNat(), (acceptedMs, expiresMs, nowMs) => {
        const opened = openMessage(mailbox.message('x', { acceptedMs, expiresMs }).record);
        if (!opened.ok) throw new Error(opened.fault);
        encodeMessageFrame(0, opened.value, nowMs);
      }),
    );
  });

  test('of an expired message has no time left, and of a long-lived one the most that fits', () => {
    expect(secondsLeft(1000, 5000)).toBe(0);
    expect(secondsLeft(1001, 0)).toBe(2);
    expect(secondsLeft(Number.MAX_SAFE_INTEGER, 0)).toBe(0xffff_ffff);
  });
});
